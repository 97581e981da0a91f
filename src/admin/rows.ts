/**
 * Rows of an import as they stream in: CSV (RFC 4180: quotes, doubled quotes, line ends inside quotes; a header is
 * required) or JSON lines. Memory is bounded by the longest row, whatever the length of the file.
 */

export const columns = ['account', 'msisdn', 'imsi', 'offer', 'balance', 'currency'] as const
export type Column = (typeof columns)[number]

/** What the header of a file must name, and may. */
export interface Columns<C extends string> {
  readonly required: readonly C[]
  readonly optional: readonly C[]
}

/** `line` is where the row begins, from 1. Of columns that a file does not have the field is empty. */
export type RowOf<C extends string> =
  | { readonly line: number; readonly fields: Readonly<Record<C, string>> }
  | { readonly line: number; readonly fault: string }

/** Of subscribers. */
export type Row = RowOf<Column>

const ofSubscribers: Columns<Column> = { required: columns, optional: [] }

/** The file cannot be read on, or not at all: a wrong header, no text, a quote that never ends. */
export class UnreadableFile extends Error {
  constructor(
    readonly line: number,
    message: string,
  ) {
    super(message)
  }
}

/** Characters of one row. */
const longestRow = 4_096

export const readCsv = (chunks: AsyncIterable<Buffer>): AsyncGenerator<Row> => csvRows(chunks, ofSubscribers)

/** One object a line, with the same names as the columns; what is missing is empty. */
export const readJsonLines = (chunks: AsyncIterable<Buffer>): AsyncGenerator<Row> => jsonRows(chunks, ofSubscribers)

export async function* csvRows<C extends string>(
  chunks: AsyncIterable<Buffer>,
  of: Columns<C>,
): AsyncGenerator<RowOf<C>> {
  let header: C[] | undefined
  for await (const { line, values, fault } of csvRecords(chunks)) {
    if (!header) header = readHeader(values, line, of)
    else if (fault !== undefined) yield { line, fault }
    else if (values.length !== header.length) {
      yield { line, fault: `${values.length} fields, the header has ${header.length}` }
    } else {
      const fields = noFields(of)
      for (const [index, name] of header.entries()) fields[name] = values[index]!.trim()
      yield { line, fields }
    }
  }
  if (!header) throw new UnreadableFile(1, `the file is empty: its first line must be ${headerOf(of)}`)
}

export async function* jsonRows<C extends string>(
  chunks: AsyncIterable<Buffer>,
  of: Columns<C>,
): AsyncGenerator<RowOf<C>> {
  let line = 0
  let rest = ''
  for await (const text of decoded(chunks, () => line + 1)) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const each of lines) {
      line++
      if (each.trim() !== '') yield readObject(each, line, of)
    }
    if (rest.length > longestRow) throw tooLong(line + 1)
  }
  if (rest.trim() !== '') yield readObject(rest, line + 1, of)
}

const namesOf = <C extends string>({ required, optional }: Columns<C>): readonly C[] => [...required, ...optional]

const headerOf = <C extends string>({ required, optional }: Columns<C>): string =>
  required.join(',') + (optional.length === 0 ? '' : `, and if wanted ${optional.join(',')}`)

const noFields = <C extends string>(of: Columns<C>): Record<C, string> =>
  Object.fromEntries(namesOf(of).map(name => [name, ''])) as Record<C, string>

function readHeader<C extends string>(values: readonly string[], line: number, of: Columns<C>): C[] {
  const names = values.map(value => value.trim().toLowerCase())
  const expected = `the first line must be ${headerOf(of)}`
  const extra = names.filter(name => !(namesOf(of) as readonly string[]).includes(name))
  const missing = of.required.filter(name => !names.includes(name))
  if (extra.length > 0) throw new UnreadableFile(line, `unknown column ${extra.map(quoted).join(', ')}: ${expected}`)
  if (missing.length > 0) throw new UnreadableFile(line, `missing column ${missing.join(', ')}: ${expected}`)
  if (new Set(names).size !== names.length) throw new UnreadableFile(line, `a column is there twice: ${expected}`)
  return names as C[]
}

function readObject<C extends string>(text: string, line: number, of: Columns<C>): RowOf<C> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { line, fault: 'not a JSON object' }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { line, fault: 'not a JSON object' }
  const fields = noFields(of)
  for (const [name, field] of Object.entries(value)) {
    if (!(namesOf(of) as readonly string[]).includes(name)) {
      return { line, fault: `unknown name ${quoted(name)}: known are ${namesOf(of).join(', ')}` }
    }
    if (field === null) continue
    if (typeof field !== 'string') {
      return { line, fault: `${name} must be a text in quotes: a number loses leading zeros and decimals` }
    }
    fields[name as C] = field.trim()
  }
  return { line, fields }
}

interface CsvRecord {
  readonly line: number
  readonly values: readonly string[]
  readonly fault: string | undefined
}

async function* csvRecords(chunks: AsyncIterable<Buffer>): AsyncGenerator<CsvRecord> {
  let line = 1
  let start = 1
  let length = 0
  let values: string[] = []
  let value = ''
  let fault: string | undefined
  let state: 'field' | 'plain' | 'quoted' | 'quote-in-quoted' = 'field'
  const ended = (): CsvRecord | undefined => {
    values.push(value)
    const record = values.length === 1 && values[0] === '' ? undefined : { line: start, values, fault }
    values = []
    value = ''
    fault = undefined
    state = 'field'
    length = 0
    start = line
    return record
  }
  for await (const text of decoded(chunks, () => line)) {
    for (const character of text) {
      if (++length > longestRow) throw tooLong(start)
      if (character === '\n') line++
      if (state === 'quoted') {
        if (character === '"') state = 'quote-in-quoted'
        else value += character
      } else if (character === '"' && state === 'quote-in-quoted') {
        value += '"'
        state = 'quoted'
      } else if (character === '"' && state === 'field') {
        state = 'quoted'
      } else if (character === ',') {
        values.push(value)
        value = ''
        state = 'field'
      } else if (character === '\n') {
        const record = ended()
        if (record) yield record
      } else if (character !== '\r') {
        if (character === '"' || state === 'quote-in-quoted')
          fault = 'a quote in the wrong place: quote the whole field, and double quotes inside it'
        if (state === 'field') state = 'plain'
        value += character
      }
    }
  }
  if ((state as string) === 'quoted') throw new UnreadableFile(start, 'the quote that begins in this row never ends')
  const record = ended()
  if (record) yield record
}

/** UTF-8 as text, a byte order mark left out. */
async function* decoded(chunks: AsyncIterable<Buffer>, line: () => number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  try {
    for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true })
    yield decoder.decode()
  } catch (error) {
    if (error instanceof TypeError && (error as NodeJS.ErrnoException).code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
      throw new UnreadableFile(line(), 'the file is not UTF-8 text')
    }
    throw error
  }
}

const tooLong = (line: number): UnreadableFile =>
  new UnreadableFile(line, `a row of more than ${longestRow} characters: is this the right file?`)

const quoted = (text: string): string => JSON.stringify(text.slice(0, 40))
