/**
 * For the check: which rules of an offer match all that certain conditions match, found without comparing each rule with each.
 * Every rule stands under the values of its rarest condition, as in rule-index.ts.
 */
import type { Condition, Conditions, Rule } from './catalog.js'
import { covers } from './load-conditions.js'

/** Conditions without the calendars, or without the destinations. */
export function without(conditions: Conditions, key: 'when' | 'destinations'): Conditions {
  return Object.fromEntries(Object.entries(conditions).filter(([name]) => name !== key))
}

interface Entry {
  readonly rule: Rule
  /** Its conditions, but for the one that does not count. */
  readonly where: Conditions
}

type Lists = Map<string, Entry[]>

export class CoverIndex {
  /** By condition and value; each list in the order of the rules. */
  readonly #lists = new Map<string, Lists>()
  readonly #others: Entry[] = []

  /**
   * @param rules in their order
   * @param aside a condition of theirs that does not count
   */
  constructor(rules: readonly Rule[], aside?: 'when' | 'destinations') {
    const asked = rules.map(rule => {
      const where = aside ? without(rule.where, aside) : rule.where
      return { rule, where, terms: termsOf(where).filter(({ values }) => values.length > 0) }
    })
    const counts = new Map<string, number>()
    for (const { terms } of asked)
      for (const { name, values } of terms)
        for (const value of values) counts.set(`${name} ${value}`, (counts.get(`${name} ${value}`) ?? 0) + 1)
    for (const { terms, ...entry } of asked) {
      let [rarest, fewest]: [Term | undefined, number] = [undefined, Infinity]
      for (const term of terms) {
        const most = term.values.reduce((max, value) => Math.max(max, counts.get(`${term.name} ${value}`)!), 0)
        if (most < fewest) [rarest, fewest] = [term, most]
      }
      if (!rarest) this.#others.push(entry)
      else for (const value of rarest.values) this.#add(rarest.name, value, entry)
    }
  }

  #add(name: string, value: string, entry: Entry): void {
    let lists = this.#lists.get(name)
    if (!lists) this.#lists.set(name, (lists = new Map<string, Entry[]>()))
    const list = lists.get(value)
    if (list) list.push(entry)
    else lists.set(value, [entry])
  }

  /** The first rule that matches all that these conditions match. `before`: only rules above this position. */
  first(conditions: Conditions, before = Infinity): Rule | undefined {
    let found: Rule | undefined
    for (const list of this.#candidates(conditions)) {
      for (const { rule, where } of list) {
        if (rule.position >= (found?.position ?? before)) break
        if (covers(where, conditions)) found = rule
      }
    }
    return found
  }

  /** All of them, in no order. */
  all(conditions: Conditions): Rule[] {
    const candidates = this.#candidates(conditions).flat()
    return candidates.filter(({ where }) => covers(where, conditions)).map(({ rule }) => rule)
  }

  /** What matches more has each value that these have: one of them is enough to find it. */
  #candidates(conditions: Conditions): Entry[][] {
    const candidates = [this.#others]
    for (const { name, values } of termsOf(conditions)) {
      const lists = this.#lists.get(name)
      const [value] = values
      if (!lists || value === undefined) continue
      for (const key of name === 'apns' ? patternsFor(value) : [value]) candidates.push(lists.get(key) ?? [])
    }
    return candidates
  }
}

/** An APN, and each pattern that matches it. */
function patternsFor(apn: string): string[] {
  const stem = apn.replace('*', '')
  return [...new Set([apn, `${stem}*`, ...Array.from(stem, (_, length) => `${stem.slice(0, length)}*`)])]
}

/** A condition, each attribute of its own, and the values that it asks for. */
interface Term {
  readonly name: string
  readonly values: readonly string[]
}

function termsOf({ account, subscriber, ...others }: Conditions): Term[] {
  const terms: Term[] = []
  for (const [name, condition] of Object.entries(others)) terms.push({ name, values: valuesOf(condition) })
  for (const [name, values] of account ?? []) terms.push({ name: `account ${name}`, values: [...values] })
  for (const [name, values] of subscriber ?? []) terms.push({ name: `subscriber ${name}`, values: [...values] })
  return terms
}

function valuesOf(condition: Condition | ReadonlySet<string>): string[] {
  if (condition instanceof Set) return [...(condition as ReadonlySet<string>)]
  const { values, none } = condition as Condition
  return [...(none ? ['none'] : []), ...[...values].map(String)]
}
