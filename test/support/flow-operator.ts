/**
 * Plays the shipped scripts of the flows against the daemons of a scenario. What an operator does in them goes over the admin API:
 * `ocsctl` without its process.
 */
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { systemClock, type Timer } from '../../src/clock.js'
import { formatFault } from '../../src/config/yaml.js'
import type { Daemon } from '../../src/daemon.js'
import type { Address } from '../../src/simulator/gateway.js'
import { play, type OperatorResult, type PlayClock, type PlayEvent, type PlayResult } from '../../src/simulator/play.js'
import { readScript } from '../../src/simulator/script.js'
import type { Scenario } from './scenario.js'
import { dictionary } from './vectors.js'

const folder = fileURLToPath(new URL('../../config/examples/flows/', import.meta.url))

/** Names of all of them. */
export const flowScripts = (): string[] => readdirSync(folder).filter(file => file.endsWith('.yaml'))

let runs = 10_000_000

/** Plays one; what was expected and did not come fails `t`. `servers` are what the script calls `one` and `two`. */
export async function playFlow(
  t: Test,
  scenario: Scenario,
  name: string,
  servers: { readonly one: Address; readonly two: Address },
): Promise<PlayResult> {
  const outcome = readScript(folder + name, readFileSync(folder + name, 'utf8'), { dictionary, run: String(++runs) })
  if ('faults' in outcome) throw new Error(outcome.faults.map(formatFault).join('\n'))
  const operator = new ScenarioApi(scenario.daemon, join(scenario.redis.folder, 'daemon-1', 'admin.token'))
  const events: PlayEvent[] = []
  const result = await play({
    ...{ script: outcome.script, dictionary, clock: clockOf(scenario), patienceMs: 5000 },
    servers: new Map(Object.entries(servers)),
    operator: (words): Promise<OperatorResult> => operator.run(words),
    onEvent: event => void events.push(event),
  })
  for (const event of events) {
    if (event.kind !== 'check' || event.verdict.ok) continue
    t.fail(`line ${event.place.line}: ${event.verdict.text}, but ${event.verdict.found ?? ''}`)
  }
  return result
}

/** Business time moves at once; what it is waited for with timers is short, and real. */
const clockOf = ({ clock }: Scenario): PlayClock => ({
  now: () => clock.now(),
  monotonic: () => systemClock.monotonic(),
  setTimeout: (fn: () => void, ms: number): Timer => systemClock.setTimeout(fn, ms),
  clearTimeout: (timer: Timer | undefined): void => systemClock.clearTimeout(timer),
  pass: async ms => {
    clock.shift(ms)
    await new Promise(resolve => setTimeout(resolve, 100))
  },
})

export class ScenarioApi {
  constructor(
    private readonly daemon: Daemon,
    private readonly tokenFile: string,
  ) {}

  /** `create account`, `show account`, `recharge`. */
  async run(words: readonly string[]): Promise<OperatorResult> {
    const option = (name: string): string | undefined => {
      const at = words.indexOf(`--${name}`)
      return at < 0 ? undefined : words[at + 1]
    }
    const [verb, noun, id] = words
    if (verb === 'create' && noun === 'account') {
      const subscriber = { msisdn: option('msisdn'), offers: [option('offer')] }
      return this.call('POST', '/v1/accounts', { id, currency: 'EUR', balance: option('balance'), subscriber })
    }
    if (verb === 'show' && noun === 'account') return this.call('GET', `/v1/accounts/${id}`)
    if (verb === 'recharge') {
      const body = { amount: id, currency: 'EUR', channel: 'test', reference: option('reference') }
      return this.call('POST', `/v1/accounts/${noun}/recharges`, body)
    }
    throw new Error(`the test has no operator for: ${words.join(' ')}`)
  }

  private async call(method: string, path: string, body?: object): Promise<OperatorResult> {
    const { host, port } = this.daemon.addresses.admin
    const response = await fetch(`http://${host}:${port}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${readFileSync(this.tokenFile, 'utf8').trim()}`,
        ...(body && { 'content-type': 'application/json' }),
        'idempotency-key': randomUUID(),
      },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.ok ? 0 : 1, answer: JSON.parse(text) as unknown, text }
  }
}
