/**
 * Grammars as RFC 6733 section 3.2 (commands) and 4.4 (groups) print them: `< fixed > { required } *[ optional ]`.
 */

/** One rule of a grammar, with the name still to be looked up. */
export interface Rule {
  readonly name: string
  readonly min: number
  readonly max: number
  /** In angle brackets: has a fixed place. Order is not checked on receipt, only kept in what we send. */
  readonly fixed: boolean
  /** Where its name stands in the text. */
  readonly at: number
}

export interface CommandRule {
  readonly name: string
  /** Undefined where the header says `code`: the grammar of answer-message, which fits every command. */
  readonly code: number | undefined
  readonly request: boolean
  readonly proxiable: boolean
  readonly applicationId: number
  readonly rules: readonly Rule[]
}

/** The text is no grammar, and where it stops being one. */
export class GrammarError extends Error {
  constructor(
    readonly at: number,
    message: string,
  ) {
    super(message)
  }
}

const brackets: Record<string, { close: string; min: number; max: number }> = {
  '<': { close: '>', min: 1, max: 1 },
  '{': { close: '}', min: 1, max: 1 },
  '[': { close: ']', min: 0, max: 1 },
}

/** Reads the rules of a group, or what follows `::=` and the header of a command. `;` begins a comment. */
export function parseRules(text: string, from = 0): Rule[] {
  const rule = /(?:(\d*)\*(\d*)\s*)?([<{[])\s*([A-Za-z0-9-]+)\s*([>}\]])/y
  const rules: Rule[] = []
  for (let at = skipBlanks(text, from); at < text.length; at = skipBlanks(text, rule.lastIndex)) {
    rule.lastIndex = at
    const match = rule.exec(text)
    const bracket = match && brackets[match[3]!]
    if (!bracket || match[5] !== bracket.close) {
      throw new GrammarError(at, 'expected < AVP >, { AVP } or [ AVP ], with *, 1* or the like before it')
    }
    const [, least, most] = match
    // RFC 6733 section 3.2: with a star the default is 0 (1 for required) to any number; *0 forbids.
    const starred = least !== undefined
    const min = !starred ? bracket.min : least === '' ? (match[3] === '{' ? 1 : 0) : Number(least)
    const max = !starred ? bracket.max : most === '' ? Infinity : Number(most)
    if (min > max) throw new GrammarError(at, `${match[4]!} must occur at least ${min} times and at most ${max}`)
    const nameAt = at + match[0].indexOf(match[4]!, match[0].indexOf(match[3]!))
    rules.push({ name: match[4]!, min, max, fixed: match[3] === '<', at: nameAt })
  }
  return rules
}

/** Reads `<Name> ::= < Diameter Header: 272, REQ, PXY, 4 >` and the rules after it. */
export function parseCommand(text: string): CommandRule {
  const start = skipBlanks(text, 0)
  const header =
    /<\s*([A-Za-z0-9-]+)\s*>\s*::=\s*<\s*Diameter[ -]Header:\s*(\d+|code)((?:\s*,?\s*(?:REQ|PXY|ERR|\[,\s*PXY\s*\]))*)(?:\s*,?\s*(\d+))?\s*>/y
  header.lastIndex = start
  const match = header.exec(text)
  if (!match) throw new GrammarError(start, 'expected <Name> ::= < Diameter Header: code, REQ, PXY, application >')
  const bits = match[3]!
  return {
    name: match[1]!,
    code: match[2] === 'code' ? undefined : Number(match[2]),
    request: bits.includes('REQ'),
    proxiable: bits.includes('PXY'),
    applicationId: Number(match[4] ?? 0),
    rules: parseRules(text, header.lastIndex),
  }
}

function skipBlanks(text: string, at: number): number {
  const blanks = /(?:\s|;[^\n]*)*/y
  blanks.lastIndex = at
  blanks.exec(text)
  return blanks.lastIndex
}
