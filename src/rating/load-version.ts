/** The version of a catalog: a hash of what it says, not of how it is written. */
import { shortHash } from './price.js'

/** The same version for the same content. Prefixes are many: they come as text. */
export const versionOf = (content: object, prefixes: Iterable<string>): string =>
  shortHash(`${canonicalText(content)}\n${[...prefixes].sort().join('\n')}`)

/** The same for the same content: tables and sets sorted, numbers as digits. */
export const canonicalText = (content: unknown): string => JSON.stringify(canonical(content))

function canonical(content: unknown): unknown {
  if (typeof content === 'bigint') return content.toString()
  if (content instanceof Set) return [...(content as Set<unknown>)].map(String).sort()
  if (Array.isArray(content)) return content.map(canonical)
  if (typeof content !== 'object' || content === null) return content
  const isMap = content instanceof Map
  const entries = isMap ? [...(content as Map<string, unknown>)] : Object.entries(content)
  return (
    entries
      // Where a rule stands is not what it says.
      .filter(([name, value]) => value !== undefined && (isMap || name !== 'place'))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => [name, canonical(value)])
  )
}
