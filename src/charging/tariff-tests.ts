/**
 * Runs the cases written beside a tariff: each is played on an account of its own through the script that charges, and what comes
 * out is compared with what the case expects. One that fails refuses the catalog, like any other fault.
 */
import type { Fault } from '../config/yaml.js'
import type { ChargeState } from '../balance/balance.js'
import type { BucketUnit, Catalog, TariffTest } from '../rating/catalog.js'
import { formatAmount, formatMoney } from '../units.js'
import { QuoteError, quotedSubscriber, type Quotes } from './quote.js'

/** What a case came to. */
export interface TariffTestResult {
  readonly cost: bigint
  readonly balance: bigint
  readonly debt: bigint
  /** By bucket name. */
  readonly left: ReadonlyMap<string, bigint>
  readonly counters: ReadonlyMap<string, bigint>
  readonly result: string
  readonly events: readonly string[]
}

/** Faults of all cases that fail, in their order. */
export async function runTariffTests(catalog: Catalog, quotes: Quotes): Promise<Fault[]> {
  const faults: Fault[] = []
  for (const test of catalog.tests) {
    try {
      const result = await playTariffTest(catalog, quotes, test)
      for (const difference of differences(catalog, test, result)) faults.push(faultOf(test, difference))
    } catch (error) {
      if (!(error instanceof QuoteError)) throw error
      faults.push(faultOf(test, error.message))
    }
  }
  return faults
}

function faultOf({ name, place }: TariffTest, what: string): Fault {
  const [, file, line, column] = /^(.*):(\d+):(\d+)$/.exec(place)!
  const hint = 'mend the tariff, or the case if it expects the wrong thing'
  return { file: file!, line: Number(line), column: Number(column), message: `test "${name}": ${what}`, hint }
}

export async function playTariffTest(catalog: Catalog, quotes: Quotes, test: TariffTest): Promise<TariffTestResult> {
  let state = quotes.stateOf(catalog, test, test.at)
  let cost = 0n
  let result = 'granted'
  const events: string[] = []
  for (const use of test.uses) {
    const { service, ratingGroup, serviceIdentifiers, amount, at, over, plmn, called, apn, rat } = use
    const facts = { plmn, called, apn, rat, direction: undefined }
    const quoted = { service, ratingGroup, serviceIdentifiers, amount, at, over, facts }
    const played = await quotes.play(catalog, 'test', quotedSubscriber, state, quoted)
    state = played.state
    cost += played.cost
    result = played.result
    const names = bucketNames(state)
    for (const entry of played.entries) events.push(...eventsOf(catalog, entry, names))
  }
  return { cost, result, events, ...amountsOf(state) }
}

/** Balances of an account's fields. */
function amountsOf({ account }: ChargeState): Omit<TariffTestResult, 'cost' | 'result' | 'events'> {
  const [, money, debt] = / money (-?\d+) .* debt (\d+) /.exec(account['funds']!)!
  const left = new Map<string, bigint>()
  const counters = new Map<string, bigint>()
  for (const [field, line] of Object.entries(account)) {
    const [kind, id] = field.split(':')
    if (kind === 'bucket') {
      const [, name, amount] = /^(\S+) \S+ left (\d+) /.exec(line)!
      left.set(name!, (left.get(name!) ?? 0n) + BigInt(amount!))
    } else if (kind === 'counter') {
      counters.set(id!.slice(0, id!.lastIndexOf('.')), BigInt(/^value (\d+) /.exec(line)![1]!))
    }
  }
  return { balance: BigInt(money!), debt: BigInt(debt!), left, counters }
}

/** Names of an account's buckets by their ids. */
function bucketNames({ account }: ChargeState): Map<string, string> {
  const buckets = Object.entries(account).filter(([field]) => field.startsWith('bucket:'))
  return new Map(buckets.map(([field, line]) => [field.slice('bucket:'.length), line.slice(0, line.indexOf(' '))]))
}

/**
 * Events of a ledger entry in the words of a case: `day-roaming 80%`, `data-5gb 1GB`, `main 1.00`.
 *
 * @param names of the account's buckets, by their ids
 */
export function eventsOf(catalog: Catalog, entry: string, names: ReadonlyMap<string, string>): string[] {
  const { events = [] } = JSON.parse(entry) as { events?: [string, string, number][] }
  return events.map(([kind, subject, level]) => {
    if (kind === 'counter') return `${subject.slice(0, subject.lastIndexOf('.'))} ${level}%`
    if (kind === 'money') return `${subject} ${formatMoney(BigInt(level))}`
    const name = names.get(subject) ?? subject
    return `${name} ${writtenAmount(catalog.buckets.get(name)?.unit ?? 'units', BigInt(level))}`
  })
}

/** As catalogs write it: one word. */
function writtenAmount(unit: BucketUnit, amount: bigint): string {
  if (unit === 'events' || unit === 'units') return String(amount)
  return formatAmount(unit, amount).replace(' min', 'm').replace(' ', '')
}

const amountText = (unit: string, amount: bigint): string =>
  unit === 'money' ? formatMoney(amount) : unit === 'units' ? String(amount) : formatAmount(unit as 'octets', amount)

function differences(catalog: Catalog, { expect }: TariffTest, result: TariffTestResult): string[] {
  const found: string[] = []
  const compare = (what: string, wanted: string | undefined, is: string): void => {
    if (wanted !== undefined && wanted !== is) found.push(`${what} is ${is}, not ${wanted}`)
  }
  const money = (amount: bigint | undefined): string | undefined =>
    amount === undefined ? undefined : formatMoney(amount)
  compare('result', expect.result, result.result)
  compare('cost', money(expect.cost), formatMoney(result.cost))
  compare('balance', money(expect.balance), formatMoney(result.balance))
  compare('debt', money(expect.debt), formatMoney(result.debt))
  for (const [name, wanted] of expect.left) {
    const { unit } = catalog.buckets.get(name)!
    compare(`left of ${name}`, amountText(unit, wanted), amountText(unit, result.left.get(name) ?? 0n))
  }
  for (const [name, wanted] of expect.counters) {
    const { unit } = catalog.counters.get(name)!
    compare(`counter ${name}`, amountText(unit, wanted), amountText(unit, result.counters.get(name) ?? 0n))
  }
  for (const event of expect.events) {
    if (!result.events.includes(event)) {
      const list = result.events.length === 0 ? 'none' : result.events.join(', ')
      found.push(`there is no event \`${event}\`; there is ${list}`)
    }
  }
  return found
}
