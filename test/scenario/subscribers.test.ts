/**
 * A story for care: SIM swap, change of number, another account, block and removal, each while sessions are open, with two daemons of which the second
 * remembers how things were. Open sessions stay with the account that they were opened on, whoever their gateway names.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Daemon } from '../../src/daemon.js'
import { linesOf, MiB, startScenario, Talk, type Scenario } from '../support/scenario.js'

const why = { reason: 'as the customer asked' }

for (const subscriptionId of ['sometimes', 'always'] as const) {
  t.test(`identities change under open sessions; gateways name the subscriber: ${subscriptionId}`, async t => {
    const scenario = await startScenario(t, 'flows', ({ diameter }) => ({
      diameter: {
        ...diameter,
        peers: diameter.peers.map(peer => ({ ...peer, profile: { ...peer.profile, subscriptionId } })),
      },
    }))
    const daemons = [scenario.daemon, await scenario.another()] as const
    const [first, second] = [
      await scenario.gateway(t, { daemons: [daemons[0]] }),
      await scenario.gateway(t, { daemons: [daemons[1]], originHost: 'second.example.net' }),
    ]
    const api = apiOf(scenario, daemons[0])
    const ask = { ratingGroup: 10, requested: { octets: MiB } }
    const use = { ratingGroup: 10, used: [{ octets: MiB }], requested: { octets: MiB } }
    const codesOf = (message: Parameters<typeof linesOf>[0]): unknown[] => [
      message.resultCode,
      ...linesOf(message).map(({ code }) => code),
    ]
    const [anna, ben] = [await scenario.subject(t), await scenario.subject(t)]
    const path = (account: string, rest = ''): string => `/v1/accounts/${account}/subscribers/1${rest}`

    // Both daemons know the old number.
    const old = new Talk(first, [anna.id])
    const oldToo = new Talk(second, [anna.id])
    t.same(codesOf(await old.initial([ask])), [2001, 2001])
    t.same(codesOf(await oldToo.initial([ask])), [2001, 2001])

    // A change of number: the old one is given to Ben at once.
    const number = String(BigInt(anna.account) + 500_000n)
    t.equal((await api('POST', path(anna.account, '/identities'), { msisdn: number, ...why })).status, 200)
    t.equal(
      (await api('POST', `/v1/accounts/${ben.account}/subscribers`, { msisdn: anna.account, ...why })).status,
      201,
    )
    const offer = { offer: 'flows', subscriber: '2', reference: 'own' }
    t.equal((await api('POST', `/v1/accounts/${ben.account}/subscriptions`, offer)).status, 201)
    t.same(codesOf(await old.update(1, [use])), [2001, 2001], 'the session goes on, under the old number')
    t.same(codesOf(await oldToo.update(1, [use])), [2001, 2001], 'at the other daemon, too')
    await anna.is(t, { bal: '9.98' }, 'paid by whoever opened them')
    await ben.is(t, { bal: '10.00' }, 'and not by who has the number now')
    const fresh = new Talk(second, [['e164', number]])
    t.same(codesOf(await fresh.initial([ask])), [2001, 2001])
    const stranger = new Talk(second, [anna.id])
    t.same(codesOf(await stranger.initial([ask])), [2001, 2001], 'the old number is Ben’s by now')
    t.same(
      (await ben.sessions()).map(({ id }) => id),
      [stranger.id],
    )
    for (const talk of [old, oldToo]) t.equal((await talk.terminate(2)).resultCode, 2001)
    t.equal((await stranger.terminate(1, [{ ratingGroup: 10, used: [{ octets: MiB }] }])).resultCode, 2001)
    await ben.is(t, { bal: '9.99', res: '0.00' }, 'he pays for his own')

    // To another account: the session stays, the next one is there.
    const cleo = await scenario.subject(t)
    const moved = await api('POST', path(anna.account, '/move'), { to: cleo.account, ...why })
    t.match(moved, { status: 200, body: { subscriber: '2', account: { id: cleo.account } } })
    const last = await fresh.terminate(1, [{ ratingGroup: 10, used: [{ octets: 2n * MiB }] }])
    t.equal(last.resultCode, 2001)
    await anna.is(t, { bal: '9.96', res: '0.00' }, 'what the session used is paid where it was opened')
    const next = new Talk(first, [['e164', number]])
    t.same(codesOf(await next.initial([ask])), [2001, 2001])
    t.same(
      (await cleo.sessions()).map(({ id }) => id),
      [next.id],
    )

    // Blocked: what was used is charged, nothing is granted; the other subscriber of the account is served.
    const block = (word: string): Promise<Answer> =>
      api('POST', `/v1/accounts/${cleo.account}/subscribers/2/${word}`, why)
    t.match(await block('block'), { status: 200, body: { subscribers: [{ blocked: false }, { blocked: true }] } })
    t.equal((await next.update(1, [use])).resultCode, 4010)
    await cleo.is(t, { bal: '9.99', res: '0.00' }, 'the session has ended and is paid')
    t.equal((await new Talk(second, [['e164', number]]).initial([ask])).resultCode, 4010)
    t.equal((await new Talk(second, [cleo.id]).initial([ask])).resultCode, 2001)
    t.equal((await block('unblock')).status, 200)
    const again = new Talk(second, [['e164', number]])
    t.equal((await again.initial([ask])).resultCode, 2001)

    // Removed: its session ends with its next report.
    const query = new URLSearchParams(why).toString()
    t.equal((await api('DELETE', `/v1/accounts/${cleo.account}/subscribers/2?${query}`)).status, 200)
    t.equal((await again.update(1, [use])).resultCode, 4010)
    t.equal((await new Talk(first, [['e164', number]]).initial([ask])).resultCode, 5030)
    await cleo.is(t, { bal: '9.98' }, 'and is paid')
    t.match((await api('POST', '/v1/fsck', {})).body, { found: 0 })
    t.same((await api('POST', '/v1/audit')).body['violations'], [])
    scenario.checkAnswers(t)
  })
}

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

const apiOf =
  ({ redis }: Scenario, daemon: Daemon) =>
  async (method: string, path: string, body?: object): Promise<Answer> => {
    const { host, port } = daemon.addresses.admin
    const response = await fetch(`http://${host}:${port}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${readFileSync(join(redis.folder, 'daemon-1', 'admin.token'), 'utf8').trim()}`,
        'idempotency-key': randomUUID(),
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as Answer['body'] }
  }
