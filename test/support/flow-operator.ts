/** What an operator does in the scripts of the flows, over the admin API of a daemon: `ocsctl` without its process. */
import { readFileSync } from 'node:fs'
import type { Daemon } from '../../src/daemon.js'
import type { OperatorResult } from '../../src/simulator/play.js'

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
      },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.ok ? 0 : 1, answer: JSON.parse(text) as unknown, text }
  }
}
