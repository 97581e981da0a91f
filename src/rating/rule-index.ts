/**
 * An offer's rules for one service, found without trying them all: each stands under the values of its rarest condition, so
 * that of thousands of rules the few that can match are tried.
 */
import type { Conditions, Rule } from './catalog.js'
import { failing, type Line } from './conditions.js'

type Value = string | number

/** Conditions on one value of a line that rules may stand under. */
interface Dimension {
  /** Undefined: without the condition. */
  readonly valuesOf: (where: Conditions) => readonly Value[] | undefined
  readonly valueOf: (line: Line) => Value
}

const none = 'none'

const dimensions: readonly Dimension[] = [
  {
    valuesOf: ({ ratingGroup }) => ratingGroup && [...ratingGroup.values, ...(ratingGroup.none ? [none] : [])],
    valueOf: line => line.ratingGroup ?? none,
  },
  {
    // A line has one of them at least in the condition: the first.
    valuesOf: ({ serviceIdentifier: ids }) => ids && [...ids.values, ...(ids.none ? [none] : [])],
    valueOf: line => line.serviceIdentifiers[0] ?? none,
  },
  { valuesOf: ({ zones }) => zones && [...zones], valueOf: line => line.zone },
  { valuesOf: ({ destinations }) => destinations && [...destinations], valueOf: line => line.destination },
]

export class RuleIndex {
  /** Named by these rules. */
  readonly calendars: ReadonlySet<string>
  /** In the order of the offer. */
  readonly rules: readonly Rule[]
  /** By dimension and value. */
  private readonly lists: readonly ReadonlyMap<Value, readonly Rule[]>[]
  private readonly others: readonly Rule[]

  constructor(rules: readonly Rule[], service: string) {
    this.rules = rules.filter(({ where: { services } }) => !services || services.has(service))
    this.calendars = new Set(this.rules.flatMap(({ where }) => [...(where.when ?? [])]))
    const asked = this.rules.map(({ where }) => dimensions.map(({ valuesOf }) => valuesOf(where)))
    const counts = dimensions.map((_, dimension) => {
      const times = new Map<Value, number>()
      for (const values of asked)
        for (const value of values[dimension] ?? []) times.set(value, (times.get(value) ?? 0) + 1)
      return times
    })
    const lists = dimensions.map(() => new Map<Value, Rule[]>())
    const others: Rule[] = []
    for (const [at, rule] of this.rules.entries()) {
      let [place, fewest] = [-1, this.rules.length + 1]
      for (const [dimension, values] of asked[at]!.entries()) {
        if (!values) continue
        let most = 0
        for (const value of values) most = Math.max(most, counts[dimension]!.get(value)!)
        if (most < fewest) [place, fewest] = [dimension, most]
      }
      if (place < 0) others.push(rule)
      else for (const value of asked[at]![place]!) append(lists[place]!, value, rule)
    }
    this.lists = lists
    this.others = others
  }

  /** The first rule of the offer whose conditions the line meets. `active`: the calendars in force. */
  first(line: Line, active: ReadonlySet<string>): Rule | undefined {
    let first = this.others.find(rule => failing(rule.where, line, active) === undefined)
    for (const [index, { valueOf }] of dimensions.entries()) {
      for (const rule of this.lists[index]!.get(valueOf(line)) ?? []) {
        if (first && rule.position > first.position) break
        if (failing(rule.where, line, active) !== undefined) continue
        first = rule
        break
      }
    }
    return first
  }
}

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}
