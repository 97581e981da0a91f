/**
 * Values that may be absent: what a reader of yaml.ts makes of one, or the default.
 */
import { readChoice, readFields, type Value } from './yaml.js'

export type Fields<K extends string> = Partial<Record<K, Value>>

/** The keys of a group that may be absent. */
export const group = <K extends string>(value: Value | undefined, keys: readonly K[]): Fields<K> =>
  value ? readFields(value, keys) : {}

/** What a reader makes of a value, or the default when there is no value or a wrong one. */
export const or = <T>(value: Value | undefined, read: (value: Value) => T | undefined, fallback: T): T =>
  (value && read(value)) ?? fallback

/** One of some words; the first is the default, unless another is named. */
export const choice = <K extends string>(
  value: Value | undefined,
  choices: readonly [K, ...K[]],
  fallback: K = choices[0],
): K => or(value, each => readChoice(each, choices), fallback)
