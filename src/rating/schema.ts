/**
 * Shapes of YAML values: each reads a value, noting faults with their places, and says the same as JSON Schema (draft
 * 2020-12), so that what an editor offers is what the check takes. catalog-shape.ts writes the catalog with them.
 */
import {
  fault,
  isTable,
  readBoolean,
  readChoice,
  readDuration,
  readFields,
  readInteger,
  readList,
  readMoney,
  readParsed,
  readPercent,
  readTable,
  readText,
  namePattern,
  type Range,
  type Value,
} from '../config/yaml.js'
import { durationPattern, percentPattern, sizePattern } from '../config/quantity.js'
import type { Micros } from '../units.js'

export type JsonSchema = Readonly<Record<string, unknown>>

export interface Shape<T> {
  /** Undefined when something is wrong with the value, which is then noted as a fault. */
  readonly read: (value: Value) => T | undefined
  readonly json: JsonSchema
}

export type Of<S> = S extends Shape<infer T> ? T : never

/** An item of a list, with its place. */
export interface Item<T> {
  readonly at: Value
  readonly is: T
}

/** A row of a table with free names. */
export interface Row<T> {
  readonly name: string
  /** Place of the name. */
  readonly key: Value
  readonly at: Value
  readonly is: T | undefined
}

export interface Field<T> {
  readonly shape: Shape<T>
  readonly doc: string
  readonly required: boolean
}

type FieldTypes = Readonly<Record<string, Field<unknown>>>

/** A table with known keys: `is` what they hold, undefined where absent or wrong; `at` the places of those that are written. */
export interface Group<F extends FieldTypes = FieldTypes> {
  readonly here: Value
  readonly at: { readonly [K in keyof F]?: Value }
  readonly is: { readonly [K in keyof F]?: F[K] extends Field<infer T> ? T : never }
}

/** A key that must be written. */
export const must = <T>(shape: Shape<T>, doc: string): Field<T> => ({ shape, doc, required: true })

/** A key that may be written; its doc says what holds otherwise. */
export const may = <T>(shape: Shape<T>, doc: string): Field<T> => ({ shape, doc, required: false })

export interface FieldOptions {
  /** What to do about keys that people may expect here. */
  readonly advice?: Readonly<Record<string, string>>
  /** More that an editor can know, like what the keys mean by the value of `unit`. The reader's owner checks the same. */
  readonly json?: JsonSchema
}

/** A table with known keys. */
export function fields<F extends FieldTypes>(known: F, options: FieldOptions = {}): Shape<Group<F>> {
  const keys = Object.keys(known)
  const required = keys.filter(key => known[key]!.required)
  const properties = Object.fromEntries(
    keys.map(key => [key, { description: known[key]!.doc, ...known[key]!.shape.json }]),
  )
  return {
    read: here => {
      const at = readFields(here, keys, required, options.advice)
      const is = Object.fromEntries(keys.map(key => [key, at[key] && known[key]!.shape.read(at[key])]))
      return { here, at, is } as unknown as Group<F>
    },
    json: {
      // An empty value is a table without keys.
      type: required.length === 0 ? ['object', 'null'] : 'object',
      properties,
      additionalProperties: false,
      ...(required.length === 0 ? {} : { required }),
      ...options.json,
    },
  }
}

/** A table with names that its author chooses. */
export const table = <T>(row: Shape<T>): Shape<Row<T>[]> => ({
  read: value => readTable(value).map(({ name, key, value: at }) => ({ name, key, at, is: row.read(at) })),
  json: { type: ['object', 'null'], propertyNames: { pattern: namePattern.source }, additionalProperties: row.json },
})

/** A list, or one value that stands for a list of one. Wrong items are told and left out. */
export const list = <T>(item: Shape<T>): Shape<Item<T>[]> => ({
  read: value =>
    readList(value).flatMap(at => {
      const is = item.read(at)
      return is === undefined ? [] : [{ at, is }]
    }),
  json: { anyOf: [item.json, { type: ['array', 'null'], items: item.json }] },
})

/** A list with one item at least. */
export const some = <T>(item: Shape<T>, hint: string): Shape<Item<T>[]> => ({
  read: value => {
    if (readList(value).length === 0) return fault(value, `${value.path} names nothing`, hint)
    return list(item).read(value)
  },
  json: { anyOf: [item.json, { type: 'array', items: item.json, minItems: 1 }] },
})

/** A plain value or list, or a table with the long form. */
export const either = <A, B>(plain: Shape<A>, long: Shape<B>): Shape<{ readonly plain: A } | { readonly long: B }> => ({
  read: value => {
    if (isTable(value)) {
      const is = long.read(value)
      return is === undefined ? undefined : { long: is }
    }
    const is = plain.read(value)
    return is === undefined ? undefined : { plain: is }
  },
  json: { anyOf: [plain.json, long.json] },
})

/** A text that a parser understands. `json`: what of it JSON Schema can say. */
export const parsed = <T>(
  expected: string,
  parse: (text: string) => T | undefined,
  hint: string | ((text: string) => string),
  json: JsonSchema,
): Shape<T> => ({ read: value => readParsed(value, expected, parse, hint), json })

/** A text of this form. */
export const matching = (expected: string, pattern: RegExp, hint: string): Shape<string> =>
  parsed(expected, text => (pattern.test(text) ? text : undefined), hint, textOf(pattern))

/** Digits, which YAML takes for a number when they are not quoted. */
export const digitsOrText = (pattern: RegExp): JsonSchema => ({ anyOf: [textOf(pattern), { type: 'integer' }] })

const textOf = (pattern: RegExp): JsonSchema => ({ type: 'string', pattern: pattern.source })

export const text: Shape<string> = { read: readText, json: { type: ['string', 'number', 'boolean'] } }

export const choice = <const K extends string>(words: readonly K[]): Shape<K> => ({
  read: value => readChoice(value, words),
  json: { enum: words },
})

export const boolean: Shape<boolean> = { read: readBoolean, json: { type: 'boolean' } }

export const integer = (range: Range): Shape<number> => ({
  read: value => readInteger(value, range),
  json: { type: 'integer', minimum: range.min, maximum: range.max },
})

/** Milliseconds. */
export const duration = (range: Range): Shape<number> => ({
  read: value => readDuration(value, range),
  json: textOf(durationPattern),
})

/** 0 to 100. */
export const share: Shape<number> = { read: readPercent, json: textOf(percentPattern) }

const moneyPattern = /^\d{1,9}(\.\d{1,6})?$/

export const money: Shape<Micros> = { read: value => readMoney(value), json: textOf(moneyPattern) }

export const signedMoney: Shape<Micros> = {
  read: value => readMoney(value, 'signed'),
  json: textOf(/^-?\d{1,9}(\.\d{1,6})?$/),
}

/** How an amount of each unit is written; `units`: of a bucket like points. */
export const amountJson: Readonly<Record<'octets' | 'seconds' | 'events' | 'money' | 'units', JsonSchema>> = {
  octets: textOf(sizePattern),
  seconds: textOf(durationPattern),
  events: digitsOrText(/^\d{1,15}$/),
  money: textOf(moneyPattern),
  units: digitsOrText(/^\d{1,15}$/),
}

/** An amount of a unit that stands elsewhere: its place, read when the unit is known (load-amount.ts). */
export const amount: Shape<Value> = {
  read: value => value,
  json: { anyOf: [amountJson.octets, amountJson.seconds, amountJson.events, amountJson.money] },
}

/** The same where the key says the unit. */
export const amountOf = (unit: keyof typeof amountJson): Shape<Value> => ({ ...amount, json: amountJson[unit] })

/** 0% to 100%, or an amount: its place, as before. */
export const shareOrAmount: Shape<Value> = { ...amount, json: { anyOf: [share.json, amount.json] } }

/** 0% to 100%, or an amount of money: its place. */
export const shareOrMoney: Shape<Value> = { ...amount, json: { anyOf: [share.json, amountJson.money] } }

/** What the amounts among the keys of a table must look like by the value of its `unit`. */
export const amountsByUnit = (
  units: readonly (keyof typeof amountJson)[],
  keys: readonly string[],
): { readonly allOf: readonly JsonSchema[] } => ({
  allOf: units.map(unit => ({
    if: { properties: { unit: { const: unit } }, required: ['unit'] },
    then: { properties: Object.fromEntries(keys.map(key => [key, amountJson[unit]])) },
  })),
})

/** Exactly one of these keys. */
export const oneOfKeys = (keys: readonly string[]): JsonSchema => ({
  oneOf: keys.map(key => ({ required: [key] })),
})
