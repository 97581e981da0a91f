/**
 * Rows of an import as they stream in: CSV (RFC 4180: quotes, doubled quotes, line ends inside quotes; a header is
 * required) or JSON lines. Memory is bounded by the longest row, whatever the length of the file.
 */

export const columns = ['account', 'msisdn', 'imsi', 'offer', 'balance', 'currency'] as const
export type Column = (typeof columns)[number]

/** `line` is where the row begins, from 1. */
export type Row =
  | { readonly line: number; readonly fields: Readonly<Record<Column, string>> }
  | { readonly line: number; readonly fault: string }

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

export async function* readCsv(chunks: AsyncIterable<Buffer>): AsyncGenerator<Row> {
  let header: Column[] | undefined
  for await (const { line, values, fault } of csvRecords(chunks)) {
    if (!header) header = readHeader(values, line)
    else if (fault !== undefined) yield { line, fault }
    else if (values.length !== header.length) {
      yield { line, fault: `${values.length} fields, the header has ${header.length}` }
    } else {
      const fields: Partial<Record<Column, string>> = {}
      for (const [index, name] of header.entries()) fields[name] = values[index]!.trim()
      yield { line, fields: fields as Record<Column, string> }
    }
  }
  if (!header) throw new UnreadableFile(1, `the file is empty: its first line must be ${columns.join(',')}`)
}

/** One object a line, with the same names as the columns; what is missing is empty. */
export async function* readJsonLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Row> {
  let line = 0
  let rest = ''
  for await (const text of decoded(chunks, () => line + 1)) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const each of lines) {
      line++
      if (each.trim() !== '') yield readObject(each, line)
    }
    if (rest.length > longestRow) throw tooLong(line + 1)
  }
  if (rest.trim() !== '') yield readObject(rest, line + 1)
}

function readHeader(values: readonly string[], line: number): Column[] {
  const names = values.map(value => value.trim().toLowerCase())
  const expected = `the first line must be ${columns.join(',')}`
  const extra = names.filter(name => !(columns as readonly string[]).includes(name))
  const missing = columns.filter(name => !names.includes(name))
  if (extra.length > 0) throw new UnreadableFile(line, `unknown column ${extra.map(quoted).join(', ')}: ${expected}`)
  if (missing.length > 0) throw new UnreadableFile(line, `missing column ${missing.join(', ')}: ${expected}`)
  if (names.length !== columns.length) throw new UnreadableFile(line, `a column is there twice: ${expected}`)
  return names as Column[]
}

function readObject(text: string, line: number): Row {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { line, fault: 'not a JSON object' }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { line, fault: 'not a JSON object' }
  const fields: Record<Column, string> = { account: '', msisdn: '', imsi: '', offer: '', balance: '', currency: '' }
  for (const [name, field] of Object.entries(value)) {
    if (!(columns as readonly string[]).includes(name)) {
      return { line, fault: `unknown name ${quoted(name)}: known are ${columns.join(', ')}` }
    }
    if (field === null) continue
    if (typeof field !== 'string') {
      return { line, fault: `${name} must be a text in quotes: a number loses leading zeros and decimals` }
    }
    fields[name as Column] = field.trim()
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
