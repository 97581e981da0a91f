/** What the TAP of a run says of each row: pure functions from text to text. */

export interface Requirement {
  readonly id: string
  readonly source: string
  /** Mandatory, recommended, or our policy. */
  readonly level: string
  readonly requirement: string
  readonly test: string
}

/** One test of a row, as it ended. */
export interface RowTest {
  readonly id: string
  /** Name of the file, without folder and ending. */
  readonly file: string
  readonly shows: string
  readonly passed: boolean
}

export interface Table {
  /** Markdown, the same for the same results. */
  readonly text: string
  /** For a terminal. */
  readonly lines: readonly string[]
  /** Rows that fail or have no test, tests without a row: a line each. */
  readonly faults: string[]
}

const rowTest = /^( *)(not ok|ok) \d+ - ((?:BASE|CC|3GPP)-\d+) (.*?)( \{)?$/
const subtest = /^# Subtest: (?:(?:.*\/)?test\/conformance\/([\w-]+)\.test\.ts)?/

/** The tests of rows in TAP 14, those that are subtests of others too. A test that was skipped has not passed. */
export function testsOf(tap: string): RowTest[] {
  const tests: RowTest[] = []
  let file = ''
  for (const line of tap.split('\n')) {
    const begun = subtest.exec(line)
    // Tests elsewhere may be named by a row, too.
    if (begun) file = begun[1] ?? ''
    const match = rowTest.exec(line)
    if (!match || file === '') continue
    const [, , result, id, rest] = match
    const [shows, directive = ''] = splitDirective(rest!)
    const passed = result === 'ok' && !/^(SKIP|TODO)/i.test(directive)
    tests.push({ id: id!, file, shows, passed })
  }
  return tests
}

/** `what is shown # time=3ms` */
function splitDirective(text: string): [shows: string, directive?: string] {
  const at = text.lastIndexOf(' # ')
  return at < 0 ? [text.replaceAll('\\#', '#')] : [text.slice(0, at).replaceAll('\\#', '#'), text.slice(at + 3)]
}

type Result = 'pass' | 'FAIL' | 'no test'

export function tableOf(requirements: readonly Requirement[], tests: readonly RowTest[]): Table {
  const rows = requirements.map(requirement => {
    const own = tests.filter(({ id }) => id === requirement.id)
    const result: Result = own.length === 0 ? 'no test' : own.every(({ passed }) => passed) ? 'pass' : 'FAIL'
    return { ...requirement, own, result }
  })
  const known = new Set(requirements.map(({ id }) => id))
  const faults = [
    ...rows
      .filter(({ result }) => result !== 'pass')
      .map(({ id, result, own }) => {
        const failed = own.filter(({ passed }) => !passed).map(each => `${each.file}: ${each.shows}`)
        return result === 'no test' ? `${id} has no test` : `${id} fails: ${failed.join('; ')}`
      }),
    ...new Set(tests.filter(({ id }) => !known.has(id)).map(({ id, file }) => `${file} tests ${id}, which is no row`)),
  ]
  const count = (wanted: Result): number => rows.filter(({ result }) => result === wanted).length
  const parts = [
    '# Conformance',
    '',
    'What RFC 6733 and 3539 (BASE), RFC 8506 (CC) and TS 32.299 (3GPP) demand of a credit-control server, and the tests that',
    'show it, over real sockets against the daemon. Written by `make conformance`; the rows are in',
    '[requirements.yaml](conformance/requirements.yaml), with the stimulus and the result that each demands, the tests beside',
    'it. Level: M the specification requires it, S it recommends it, P our policy where it leaves room.',
    '',
    `${rows.length} rows: ${count('pass')} pass, ${count('FAIL')} fail, ${count('no test')} without a test.`,
  ]
  for (const part of ['BASE', 'CC', '3GPP']) {
    parts.push('', `## ${part}`, '', '| id | level | requirement | result | test |', '|---|---|---|---|---|')
    for (const { id, level, source, requirement, result, own } of rows) {
      if (!id.startsWith(`${part}-`)) continue
      const cells = [id, level, `${requirement} (${source})`, result, named(own).join('<br>')]
      parts.push(`| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    }
  }
  const lines = rows.map(({ id, requirement, result, own }) =>
    [id.padEnd(8), result.padEnd(7), cut(requirement, 72).padEnd(72), cut(named(own).join('; '), 100)]
      .join('  ')
      .trimEnd(),
  )
  return { text: `${parts.join('\n')}\n`, lines, faults }
}

/** `file: what is shown`; what several files show in the same words stands once. */
function named(tests: readonly RowTest[]): string[] {
  const files = new Map<string, Set<string>>()
  for (const { shows, file } of tests) files.set(shows, (files.get(shows) ?? new Set()).add(file))
  return [...files].map(([shows, where]) => `${[...where].sort().join(', ')}: ${shows}`)
}

const cut = (text: string, length: number): string => (text.length <= length ? text : `${text.slice(0, length - 1)}…`)
