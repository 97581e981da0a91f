/**
 * How long does a catalog take to load and what memory does it keep, and what does it cost to find the program of a line, by the
 * number of offers, rules and prefixes?
 *
 *     npx tsx bench/rating.ts         BENCH_SMALL=1: tiny catalogs, to see that it works
 *
 * `load`: a folder of YAML and CSV, read and checked whole, in a process of its own: CPU `ms` the first time and `again` (a reload,
 * median). `heap` is what the catalog keeps after garbage collection, `rss` and `peak` are of the whole process. `match`: CPU µs a
 * line. The last rule is the one that matches, but where destinations decide. `again`: the same subscriber and facts once more
 * (what most CCRs are); `new`: nothing of it was ever matched. `find`: the destination of a number. Medians of interleaved rounds.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Catalog } from '../src/rating/catalog.js'
import { loadCatalog } from '../src/rating/load.js'
import { findService, programFor, type LineFacts, type Subject } from '../src/rating/match.js'

const small = process.env['BENCH_SMALL'] === '1'
const rounds = small ? 1 : 7
/** CPU that one case takes in one round. */
const roundMs = small ? 2 : 50
const destinationCount = small ? 10 : 500
const someRules = small ? 10 : 100
const manyRules = small ? 100 : 10_000
const manyPrefixes = small ? 1_000 : 200_000

interface Size {
  readonly offers: number
  /** Of all offers together. */
  readonly rules: number
  readonly prefixes: number
  /** Each rule is for one destination and for one calendar, in one rating group. */
  readonly byDestination?: boolean
}

interface Loaded {
  readonly ms: number
  readonly again: number
  /** MB. */
  readonly heap: number
  readonly rss: number
  readonly peak: number
}

const loads: Record<string, Size> = {
  '1 offer': { offers: 1, rules: 2, prefixes: 0 },
  [`${manyRules / 100} offers`]: { offers: manyRules / 100, rules: manyRules / 10, prefixes: 0 },
  [`${manyRules / 10} offers`]: { offers: manyRules / 10, rules: manyRules, prefixes: 0 },
  [`1 offer, ${manyRules} rules`]: { offers: 1, rules: manyRules, prefixes: 0 },
  [`1 offer, ${manyPrefixes} prefixes`]: { offers: 1, rules: 2, prefixes: manyPrefixes },
  [`${manyRules / 10} offers, ${manyRules} rules, ${manyPrefixes} prefixes`]: {
    offers: manyRules / 10,
    rules: manyRules,
    prefixes: manyPrefixes,
  },
  [`1 offer, ${manyRules} rules by destination and time, ${manyPrefixes} prefixes`]: {
    ...{ offers: 1, rules: manyRules, prefixes: manyPrefixes },
    byDestination: true,
  },
}

const matches: Record<string, Size> = {
  '1 rule': { offers: 1, rules: 2, prefixes: 0 },
  [`${someRules} rules`]: { offers: 1, rules: someRules, prefixes: 0 },
  [`${manyRules} rules`]: { offers: 1, rules: manyRules, prefixes: 0 },
  [`${manyRules} rules, ${manyPrefixes} prefixes`]: { offers: 1, rules: manyRules, prefixes: manyPrefixes },
  [`${manyRules} rules by destination and time, ${manyPrefixes} prefixes`]: {
    ...{ offers: 1, rules: manyRules, prefixes: manyPrefixes },
    byDestination: true,
  },
}

const folder = mkdtempSync(join(tmpdir(), 'ocsd-bench-'))

function main(): void {
  const loaded = Object.entries(loads).map(([name, size]) => ({ case: name, ...loadApart(writeCatalog(name, size)) }))
  const matched = match()
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`
  console.log(JSON.stringify({ bench: 'rating', machine, rounds, load: loaded, match: matched }))
  console.log(`\n  ${'load'.padEnd(62)}     ms   again  heap MB   rss MB  peak MB`)
  for (const { case: name, ms, again, heap, rss, peak } of loaded) {
    console.log(`  ${name.padEnd(62)}${columns([ms, again], 7)}${columns([heap, rss, peak], 8)}`)
  }
  console.log(`\n  ${'match, µs a line'.padEnd(62)}  again      new     find`)
  for (const { case: name, again, first, find } of matched) {
    console.log(`  ${name.padEnd(62)}${columns([again], 7)}${columns([first, find], 8)}`)
  }
}

const columns = (values: readonly number[], width: number): string =>
  values.map(value => ` ${String(value).padStart(width)}`).join('')

// --- catalogs

/** A folder with a catalog of that size: the last rule of each offer is the one that matches what the others do not. */
function writeCatalog(name: string, size: Size): string {
  const { offers, rules, prefixes, byDestination = false } = size
  const path = join(folder, name.replaceAll(/\W+/g, '-'))
  mkdirSync(path, { recursive: true })
  const each = Math.max(2, Math.round(rules / offers))
  const lines = [
    'currency: EUR',
    'timezone: Europe/Berlin',
    'services:',
    '  data: { context: 32251@3gpp.org, unit: octets }',
    '  voice: { context: 32260@3gpp.org, unit: seconds }',
    'zones:',
    "  home: { plmn: ['26201'] }",
    "  eu: { plmn: ['208*', '222*'] }",
    'calendars:',
    "  peak: { days: mon-fri, from: '08:00', to: '20:00' }",
    "  night: { from: '22:00', to: '06:00' }",
    ...(prefixes > 0 ? ['destinationFiles: [destinations.csv]'] : []),
    'rates:',
    "  payg: { unit: octets, price: '0.01', per: 1MB, step: 100kB }",
    "  roaming: { unit: octets, price: '0.05', per: 1MB, step: 100kB }",
    "  call: { unit: seconds, price: '0.06', per: 60s, first: 30s, step: 1s }",
    'offers:',
  ]
  for (let offer = 1; offer <= offers; offer++) {
    lines.push(`  offer-${offer}:`, `    rank: ${offer}`)
    lines.push(`    grants: [{ bucket: data-${offer}, amount: 5GB, for: [data], expires: 30d }]`, '    rules:')
    for (let rule = 1; rule <= each - 2; rule++) lines.push(`      - ${ruleOf(rule, offer, size)}`)
    lines.push(`      - { service: data, use: [data-${offer}, payg] }`, '      - { service: voice, use: [call] }')
  }
  writeFileSync(join(path, 'catalog.yaml'), `${lines.join('\n')}\n`)
  if (prefixes > 0)
    writeFileSync(join(path, 'destinations.csv'), csvOf(prefixes, byDestination ? rules / 2 : destinationCount))
  return path
}

/** Rules as an operator has them: by rating group, zone and time of day, some by destination. */
function ruleOf(rule: number, offer: number, { prefixes, byDestination }: Size): string {
  if (byDestination) {
    const when = rule % 2 === 0 ? 'peak' : 'night'
    return `{ service: voice, ratingGroup: 10, destination: dest-${rule >> 1}, when: ${when}, use: [call] }`
  }
  if (prefixes > 0 && rule % 4 === 0) {
    return `{ service: voice, ratingGroup: ${rule}, destination: dest-${rule % destinationCount}, use: [call] }`
  }
  const where = ['zone: home', 'zone: eu', 'zone: eu, when: peak', 'when: peak'][rule % 4]!
  return `{ service: data, ratingGroup: ${rule}, ${where}, use: [data-${offer}, ${rule % 2 === 0 ? 'payg' : 'roaming'}] }`
}

/** Three to nine digits each; most of them begin with others. */
function csvOf(count: number, destinations: number): string {
  const prefixes = new Set<string>()
  const digits = digitsFrom(1)
  // Short ones are soon all there: the length goes by the tries.
  for (let tries = 0; prefixes.size < count; tries++) prefixes.add(digits(3 + (tries % 7)))
  const rows = [...prefixes].map((prefix, index) => `${prefix},dest-${index % destinations}`)
  return `prefix,destination\n${rows.join('\n')}\n`
}

/** The same "random" digits in each run; the first is not 0. */
function digitsFrom(seed: number): (count: number) => string {
  let state = seed
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  return count => String(1 + next(9)) + Array.from({ length: count - 1 }, () => next(10)).join('')
}

function load(path: string): Catalog {
  const outcome = loadCatalog(path)
  if ('catalog' in outcome) return outcome.catalog
  throw new Error(outcome.faults.map(({ line, message, hint }) => `${line}: ${message}; ${hint ?? ''}`).join('\n'))
}

// --- load

function loadApart(path: string): Loaded {
  const bench = fileURLToPath(import.meta.url)
  const output = execFileSync(process.execPath, ['--expose-gc', '--import=tsx', bench, 'load', path], {
    encoding: 'utf8',
  })
  return JSON.parse(output) as Loaded
}

/** What the process of one load prints. */
function measureLoad(path: string): Loaded {
  const collect = globalThis.gc!
  const timed = (): number => {
    const before = process.cpuUsage()
    held = load(path)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1_000
  }
  let held: Catalog | undefined
  collect()
  const before = process.memoryUsage().heapUsed
  const ms = timed()
  collect()
  const { heapUsed, rss } = process.memoryUsage()
  const peak = process.resourceUsage().maxRSS * 1024
  const again = median(Array.from({ length: small ? 1 : 3 }, timed))
  // Read after all, so that the catalog was alive when the heap was measured.
  if (held!.offers.size === 0) throw new Error('no offers')
  const mb = (octets: number): number => Number((octets / 1e6).toFixed(1))
  return { ms: Math.round(ms), again: Math.round(again), heap: mb(heapUsed - before), rss: mb(rss), peak: mb(peak) }
}

// --- match

const now = Date.parse('2026-11-23T11:00:00Z')
/** No rule names this rating group. */
const facts: LineFacts = { ratingGroup: 4_000_000_000, serviceIdentifiers: [], plmn: '26201' }

const newSubject = (): Subject => ({
  subscriptions: [{ id: '1', offer: 'offer-1', since: 0 }],
  account: new Map([['segment', 'consumer']]),
  subscriber: new Map(),
  overrides: [],
})

function match(): { case: string; again: number; first: number; find: number }[] {
  const cases = Object.entries(matches).map(([name, size]) => {
    const catalog = load(writeCatalog(`match ${name}`, size))
    const service = findService(catalog, '32251@3gpp.org')!
    const voice = findService(catalog, '32260@3gpp.org')!
    const numbers = Array.from(
      { length: 1_000 },
      (
        digits => () =>
          digits(12)
      )(digitsFrom(7)),
    )
    const subject = newSubject()
    let next = 0
    const called = (): string => numbers[next++ % numbers.length]!
    const asked = size.prefixes > 0 ? voice : service
    const known = size.byDestination ? { ...facts, ratingGroup: 10 } : facts
    const same = size.prefixes > 0 ? { ...known, called: called() } : known
    return {
      name,
      again: () => programFor(catalog, subject, asked, same, now),
      first: () => {
        catalog.memo.programs.clear()
        const line = size.prefixes > 0 ? { ...known, called: called() } : known
        return programFor(catalog, newSubject(), asked, line, now)
      },
      find: () => catalog.destinations.find(called()),
      figures: { again: [] as number[], first: [] as number[], find: [] as number[] },
    }
  })
  for (const { name, again, first } of cases) {
    for (const { program } of [again(), first()])
      if (program.kind !== 'pay') throw new Error(`${name}: ${program.kind}`)
  }
  for (let round = 0; round < rounds; round++) {
    for (const each of cases) {
      for (const kind of ['again', 'first', 'find'] as const) each.figures[kind].push(cpuOf(each[kind]))
    }
  }
  return cases.map(({ name, figures }) => {
    const middle = (values: readonly number[]): number => Number(median(values).toFixed(2))
    return { case: name, again: middle(figures.again), first: middle(figures.first), find: middle(figures.find) }
  })
}

/** CPU µs a call. */
function cpuOf(work: () => unknown): number {
  let calls = 0
  const before = process.cpuUsage()
  let spent = 0
  for (let batch = 1; spent < roundMs * 1_000; batch = Math.min(batch * 2, 1_024)) {
    for (let i = 0; i < batch; i++) work()
    calls += batch
    const { user, system } = process.cpuUsage(before)
    spent = user + system
  }
  return spent / calls
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}

try {
  const [, , task, path] = process.argv
  if (task === 'load') console.log(JSON.stringify(measureLoad(path!)))
  else main()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
