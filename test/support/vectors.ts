/**
 * Messages that others made: the reference vectors and what a real SMF sent, in test/support/fixtures/.
 */
import { readFileSync } from 'node:fs'
import { loadDictionary } from '../../src/diameter/dictionary.js'

export interface VectorAvp {
  readonly name?: string
  readonly code: number
  readonly vendor_id: number
  /** `VM`, `M`, `V` or nothing. */
  readonly flags: string
  readonly type: string
  readonly value?: number | string
  readonly avps?: readonly VectorAvp[]
}

export interface Reaction {
  readonly action: 'answer' | 'process' | 'close' | 'process-or-reject'
  readonly result_code?: number | readonly number[]
  readonly e_bit?: boolean | 'either'
  readonly failed_avp?: readonly { code: number; vendor_id?: number; data?: string }[]
}

export interface Vector {
  readonly id: string
  readonly title: string
  readonly octets: Buffer
}

export interface ValidVector extends Vector {
  readonly header: {
    readonly length: number
    readonly flags: { readonly R: boolean; readonly P: boolean; readonly E: boolean; readonly T: boolean }
    readonly command_code: number
    readonly command: string
    readonly application_id: number
    readonly hop_by_hop: number
    readonly end_to_end: number
  }
  readonly avps: readonly VectorAvp[]
}

export interface MalformedVector extends Vector {
  readonly base: string
  readonly expected_reaction: Reaction
}

export interface StreamVector {
  readonly id: string
  readonly title: string
  readonly segments: readonly Buffer[]
}

const fixture = (path: string): URL => new URL(`fixtures/${path}`, import.meta.url)
const hex = (text: string): Buffer => Buffer.from(text, 'hex')

function vectorsOf<T>(file: string): (T & { hex: string })[] {
  return (JSON.parse(readFileSync(fixture(`vectors/${file}.json`), 'utf8')) as { vectors: (T & { hex: string })[] })
    .vectors
}

export const validVectors = ['base', 'malformed-base', 'cc-session', 'cc-event', 'ims', 'sy']
  .flatMap(file => vectorsOf<Omit<ValidVector, 'octets'>>(file))
  .map((vector): ValidVector => ({ ...vector, octets: hex(vector.hex) }))

export const malformedVectors = vectorsOf<Omit<MalformedVector, 'octets'>>('malformed').map(
  (vector): MalformedVector => ({ ...vector, octets: hex(vector.hex) }),
)

export const streamVectors = vectorsOf<{ id: string; title: string; segments: string[] }>('stream').map(
  (vector): StreamVector => ({ ...vector, segments: vector.segments.map(hex) }),
)

/** The octets of a vector: `C01`, `M20`. */
export function vector(id: string): Buffer {
  const found = [...validVectors, ...malformedVectors].find(each => each.id === id)
  if (!found) throw new Error(`no vector ${id}`)
  return Buffer.from(found.octets)
}

/** Gy messages between an Open5GS SMF and a stub, both ways, in order. */
export const recordings = (
  JSON.parse(readFileSync(fixture('open5gs/messages.json'), 'utf8')) as {
    scenario: string
    messages: { name: string; hex: string }[]
  }[]
).flatMap(({ scenario, messages }) => messages.map(({ name, hex: text }) => ({ scenario, name, octets: hex(text) })))

/** The shipped dictionary. */
export const dictionary = loadDictionary()

/** A table of test/support/fixtures/reference/, by column. No field has a line break. */
export function referenceTable(name: string): Record<string, string>[] {
  const [head, ...rows] = readFileSync(fixture(`reference/${name}.csv`), 'utf8')
    .trimEnd()
    .split(/\r?\n/)
  const columns = cells(head!)
  return rows.map(row => Object.fromEntries(cells(row).map((cell, i) => [columns[i]!, cell])))
}

function cells(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  )
}
