/**
 * Planted mistakes in YAML: a good text, one replacement in it, and «, the place where the fault must be told.
 */
import { formatFault, type Fault } from '../../src/config/yaml.js'

export interface Mistake {
  /** A part of the good text, found once; `$` is its end. */
  readonly replace: string
  /** What stands there instead, with « where the fault is told. */
  readonly by: string
  /** What is wrong, and the hint: `message; hint`. */
  readonly expect: string
}

/** The text with the mistake, and the line that the check must print for it. */
export function plant(file: string, good: string, { replace, by, expect }: Mistake): { text: string; line: string } {
  const at = replace === '$' ? good.length : good.indexOf(replace)
  if (at < 0 || (replace !== '$' && good.indexOf(replace, at + 1) >= 0)) throw new Error(`not found once: ${replace}`)
  const marked = good.slice(0, at) + by + (replace === '$' ? '' : good.slice(at + replace.length))
  const before = marked.slice(0, marked.indexOf('«')).split('\n')
  return {
    text: marked.replace('«', ''),
    line: `${file}:${before.length}:${before.at(-1)!.length + 1}: ${expect}`,
  }
}

/** The faults as people see them. */
export const linesOf = (faults: readonly Fault[]): string[] => faults.map(formatFault)
