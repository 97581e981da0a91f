/**
 * What the sources say about messages, read from their syntax: which AVPs are written into which message, and which Result-Codes
 * are answered in which words. Nothing here is kept by hand but which file writes which message; a file that writes and is not in
 * that list is a fault.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import type { Dictionary } from '../../src/diameter/dictionary.js'

const src = fileURLToPath(new URL('../../src/', import.meta.url))

/** Which messages a file writes. `refusal`: any answer that refuses. */
const messagesOf: Readonly<Record<string, readonly string[]>> = {
  'gy/cca.ts': ['CCA'],
  'gy/line-answer.ts': ['CCA'],
  'gy/event-answer.ts': ['CCA'],
  'gy/credit-control.ts': ['CCA'],
  'gy/server-initiated.ts': ['RAR', 'ASR'],
  'diameter/capabilities.ts': ['CEA'],
  'diameter/initiator.ts': ['CER'],
  'diameter/own-capabilities.ts': ['CER', 'CEA'],
  'diameter/server.ts': ['DWR', 'DWA', 'DPR', 'DPA'],
  'diameter/error-answer.ts': ['refusal'],
}
/** Instead of a name: `deny` and `free` of a rule say the code. */
export const catalogCode = 'as the catalog says'
/** They move AVPs that others have written. */
const carriers: ReadonlySet<string> = new Set(['diameter/output.ts', 'diameter/tree.ts', 'diameter/writer.ts'])

const writes: ReadonlySet<string> = new Set(['u32', 'i32', 'u64', 'i64', 'text', 'octets', 'time', 'group'])
/** What `ready` copies, by what it is called there. */
const ready: Readonly<Record<string, readonly number[]>> = {
  'context.identity': [264, 296],
  identityAvps: [264, 296],
  'own.identityAvps': [264, 296],
  proxyInfo: [284],
  'avpAt(octets, at)': [284],
}

export interface SentAvp {
  readonly code: number
  readonly vendorId: number
  /** The M bit is left out, whatever the dictionary says. */
  readonly withoutM: boolean
  /** What the function that writes it says of itself; empty when it says nothing. */
  readonly when: string
}

/** By message: what may be in it. Where a file writes several messages, the grammar of each says what is meant for it. */
export function sentAvps(dictionary: Dictionary): ReadonlyMap<string, readonly SentAvp[]> {
  const sent = new Map<string, SentAvp[]>()
  for (const room of ['diameter', 'gy']) {
    for (const name of readdirSync(join(src, room))) {
      const file = `${room}/${name}`
      if (carriers.has(file)) continue
      const found = new Source(file).written()
      if (found.length === 0) continue
      const messages = messagesOf[file]
      if (!messages) throw new Error(`src/${file} writes AVPs: say in test/support/sent-avps.ts into which messages`)
      for (const message of messages) {
        const meant = messages.length === 1 ? found : found.filter(avp => belongs(dictionary, message, avp))
        sent.set(message, [...(sent.get(message) ?? []), ...meant])
      }
    }
  }
  return sent
}

/** By name of the code: in what words requests are refused with it. */
export function refusals(): ReadonlyMap<string, readonly string[]> {
  const words = new Map<string, Set<string>>()
  for (const room of ['diameter', 'gy']) {
    for (const name of readdirSync(join(src, room))) {
      for (const [code, message] of new Source(`${room}/${name}`).refusals()) {
        words.set(code, (words.get(code) ?? new Set()).add(message))
      }
    }
  }
  return new Map([...words].map(([code, messages]) => [code, [...messages].sort()]))
}

const belongs = (dictionary: Dictionary, message: string, { code, vendorId }: SentAvp): boolean =>
  dictionary.grammar(message).members.some(({ avp }) => avp.code === code && avp.vendorId === vendorId)

class Source {
  private readonly tree: ts.SourceFile

  constructor(private readonly file: string) {
    this.tree = ts.createSourceFile(file, readFileSync(join(src, file), 'utf8'), ts.ScriptTarget.Latest, true)
  }

  written(): SentAvp[] {
    const found: SentAvp[] = []
    this.visit(node => {
      if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return
      const { name, expression: object } = node.expression
      if (!/(?:^|\.)writer$/.test(object.getText())) return
      const [first, , third, fourth] = node.arguments
      const when = whenOf(node)
      if (name.text === 'ready') {
        const codes = ready[first!.getText()]
        if (!codes) throw this.fault(first!, 'copies what has no name in test/support/sent-avps.ts')
        for (const code of codes) found.push({ code, vendorId: 0, withoutM: false, when })
      } else if (writes.has(name.text)) {
        const group = name.text === 'group'
        const vendor = group ? node.arguments[1] : third
        const flags = group ? third : fourth
        const vendorId = vendor === undefined ? 0 : this.numbersOf(vendor)[0]!
        const withoutM = flags?.getText() === '0'
        for (const code of this.numbersOf(first!)) found.push({ code, vendorId, withoutM, when })
      }
    })
    return found
  }

  refusals(): [code: string, message: string][] {
    const found: [string, string][] = []
    this.visit(node => {
      if (ts.isNewExpression(node) && node.expression.getText() === 'DiameterError') {
        const [code, message] = node.arguments ?? []
        if (code && message) this.note(found, code, message)
      } else if (ts.isObjectLiteralExpression(node)) {
        const code = propertyOf(node, 'resultCode')
        const message = propertyOf(node, 'message')
        if (code && message) this.note(found, code, message)
      }
    })
    return found
  }

  private note(found: [string, string][], code: ts.Expression, message: ts.Expression): void {
    const names = [...code.getText().matchAll(/ResultCode\.(\w+)/g)].map(match => match[1]!)
    // A code that is no constant is the catalog's.
    if (names.length === 0 && /\.code$/.test(code.getText())) names.push(catalogCode)
    for (const name of names) for (const text of this.textsOf(message)) found.push([name, text])
  }

  /** The words of a message; what is filled in is an ellipsis. */
  private textsOf(node: ts.Expression): string[] {
    if (ts.isStringLiteralLike(node)) return [node.text]
    if (ts.isTemplateExpression(node)) {
      return [node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('')]
    }
    if (ts.isConditionalExpression(node)) return [...this.textsOf(node.whenTrue), ...this.textsOf(node.whenFalse)]
    if (ts.isElementAccessExpression(node)) {
      return this.objectsOf(node.expression).flatMap(valuesOf).flatMap(value => this.textsOf(value)) // prettier-ignore
    }
    if (ts.isIdentifier(node)) {
      const declared = this.declarationOf(node)
      return declared ? this.textsOf(declared) : []
    }
    return []
  }

  /** Every number that an expression may be, as far as constants of this file tell. */
  private numbersOf(node: ts.Expression): number[] {
    if (ts.isNumericLiteral(node)) return [Number(node.text)]
    if (ts.isAsExpression(node) || ts.isNonNullExpression(node) || ts.isParenthesizedExpression(node))
      return this.numbersOf(node.expression)
    if (ts.isConditionalExpression(node)) return [...this.numbersOf(node.whenTrue), ...this.numbersOf(node.whenFalse)]
    if (ts.isPropertyAccessExpression(node)) {
      const objects = this.objectsOf(node.expression)
      const values = objects.map(object => propertyOf(object, node.name.text)).filter(value => value !== undefined)
      if (values.length > 0) return values.flatMap(value => this.numbersOf(value))
    }
    if (ts.isElementAccessExpression(node)) {
      const values = this.objectsOf(node.expression).flatMap(valuesOf)
      if (values.length > 0) return values.flatMap(value => this.numbersOf(value))
    }
    if (ts.isIdentifier(node)) {
      const declared = this.declarationOf(node)
      if (declared) return this.numbersOf(declared)
    }
    throw this.fault(node, 'is no AVP code that can be told from constants of the file')
  }

  /** The object literals that an expression may be. */
  private objectsOf(node: ts.Expression): ts.ObjectLiteralExpression[] {
    if (ts.isObjectLiteralExpression(node)) return [node]
    if (ts.isAsExpression(node) || ts.isSatisfiesExpression(node)) return this.objectsOf(node.expression)
    if (ts.isElementAccessExpression(node))
      return this.objectsOf(node.expression).flatMap(valuesOf).flatMap(value => this.objectsOf(value)) // prettier-ignore
    if (ts.isIdentifier(node)) {
      const declared = this.declarationOf(node)
      return declared ? this.objectsOf(declared) : []
    }
    return []
  }

  /** What a constant is set to: the nearest one of this name before its use, else any. */
  private declarationOf({ text, pos }: ts.Identifier): ts.Expression | undefined {
    let found: ts.VariableDeclaration | undefined
    this.visit(node => {
      if (!ts.isVariableDeclaration(node) || !ts.isIdentifier(node.name) || node.name.text !== text) return
      if (node.initializer && (found === undefined || node.pos < pos)) found = node
    })
    return found?.initializer
  }

  private visit(look: (node: ts.Node) => void): void {
    const visit = (node: ts.Node): void => {
      look(node)
      ts.forEachChild(node, visit)
    }
    visit(this.tree)
  }

  private fault(node: ts.Node, what: string): Error {
    const { line } = this.tree.getLineAndCharacterOfPosition(node.getStart())
    return new Error(`src/${this.file}:${line + 1}: ${node.getText()} ${what}`)
  }
}

function propertyOf(object: ts.ObjectLiteralExpression, name: string): ts.Expression | undefined {
  for (const property of object.properties) {
    if (property.name?.getText() !== name) continue
    if (ts.isPropertyAssignment(property)) return property.initializer
    if (ts.isShorthandPropertyAssignment(property)) return property.name
  }
  return undefined
}

const valuesOf = (object: ts.ObjectLiteralExpression): ts.Expression[] =>
  object.properties.flatMap(property => (ts.isPropertyAssignment(property) ? [property.initializer] : []))

/** The comment of the function around a node, in one line. */
function whenOf(node: ts.Node): string {
  for (let at: ts.Node | undefined = node; at; at = at.parent as ts.Node | undefined) {
    if (!ts.isFunctionDeclaration(at) && !ts.isMethodDeclaration(at)) continue
    const [comment] = ts.getJSDocCommentsAndTags(at)
    const text = comment && ts.isJSDoc(comment) ? ts.getTextOfJSDocComment(comment.comment) : undefined
    return (text ?? '').replaceAll(/\s+/g, ' ').trim()
  }
  return ''
}
