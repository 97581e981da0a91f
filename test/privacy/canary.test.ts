/**
 * Canaries: identities that nobody else has go through everything a daemon does; then every artefact is searched for them. The store and an
 * export that was asked for have them, and after an erasure not even those. Identities stand apart (README, privacy).
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import { pseudonymsOf } from '../../src/privacy/pseudonyms.js'
import type { CcrInput } from '../../src/simulator/ccr.js'
import { PatientGateway } from '../support/load.js'
import { OcsdProcess, processFolder, startTcpRedis, until } from '../support/ocsd-process.js'
import { seeded } from '../support/load.js'

const anna = { msisdn: '491799913579', imsi: '262019991357913', nai: 'anna.canary@secret.example' }
/** Of nobody that we know. */
const stranger = '491799924680'
const canaries = [...Object.values(anna), stranger]

/** Files below a folder, but for the keys. */
function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => join(folder, name))
    .filter(path => statSync(path).isFile())
}

const foundIn = (text: string): string[] => canaries.filter(canary => text.includes(canary))

/** All that the store holds, as text. */
async function dump(redis: Redis): Promise<string> {
  const lines: string[] = []
  for (const key of await redis.keys('*')) {
    const type = await redis.type(key)
    const value =
      type === 'hash'
        ? await redis.hgetall(key)
        : type === 'zset'
          ? await redis.zrange(key, '0', '-1')
          : type === 'stream'
            ? await redis.xrange(key, '-', '+')
            : type === 'set'
              ? await redis.smembers(key)
              : type === 'list'
                ? await redis.lrange(key, 0, -1)
                : await redis.get(key)
    lines.push(`${key} ${JSON.stringify(value)}`)
  }
  return lines.join('\n')
}

/** An identity in its hash: all but the last two digits are the key, those the field. */
const indexed = (text: string, digits: string): boolean =>
  text.includes(`:${digits.slice(0, -2)} {`) && text.includes(`"${digits.slice(-2)}":`)

t.test('identities stand in the store alone, and after an erasure nowhere', { timeout: 120_000 }, async t => {
  const { url } = await startTcpRedis(t)
  const place = processFolder(t, {
    store: { kind: 'url', url, durability: 'memory', partitions: 16 },
    log: { level: 'debug' },
    cdr: { formats: ['jsonl', 'csv'] },
    payments: { providers: [{ name: 'test', kind: 'test' }] },
    notifications: { webhooks: [] },
  })
  const ocsd = await OcsdProcess.start(t, place)
  const done = async (
    method: 'GET' | 'POST' | 'PATCH',
    path: string,
    body?: object,
  ): Promise<Record<string, unknown>> => {
    const reply = await ocsd.api(method, path, body)
    if (reply.status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(reply)}`)
    return reply.body
  }
  await done('POST', '/v1/accounts', {
    id: 'konto-1',
    currency: 'EUR',
    balance: '1.00',
    subscriber: { ...anna, offers: ['payg'] },
  })
  const gateway = new PatientGateway('pgw1.example.net', [ocsd.address], seeded(1))
  await gateway.connect()
  const ask = async (
    sessionId: string,
    type: CcrInput['type'],
    number: number,
    name: string,
    more: object = {},
  ): Promise<number> => {
    const answer = await gateway.ask({
      ...{ type, number, sessionId, serviceContextId: '32251@3gpp.org', multipleServicesIndicator: 1 },
      subscriptionIds: [
        ['e164', name],
        ['imsi', name === anna.msisdn ? anna.imsi : stranger],
      ],
      services: [{ ratingGroup: 10, requested: {}, ...more }],
    })
    return answer.resultCode
  }
  const session = gateway.nextSessionId()
  t.equal(await ask(session, 'initial', 0, anna.msisdn), 2001)
  t.equal(await ask(session, 'update', 1, anna.msisdn, { used: [{ octets: 500_000n }] }), 2001)
  t.equal(await ask(gateway.nextSessionId(), 'initial', 0, stranger), 5030, 'whom nobody knows')
  await done('POST', '/v1/accounts/konto-1/recharges', {
    amount: '5.00',
    currency: 'EUR',
    channel: 'app',
    reference: 'r1',
  })
  await done('POST', '/v1/accounts/konto-1/payments', { amount: '7.00', currency: 'EUR', channel: 'portal' })
  await done('POST', '/v1/accounts/konto-1/adjustments', { amount: '-1.00', reason: 'a correction' })
  for (const [type, value] of Object.entries(anna)) await done('GET', `/v1/subscribers/${type}/${value}/person`)
  await ocsd.api('GET', `/v1/subscribers/msisdn/${stranger}`)
  await ocsd.api('POST', '/v1/accounts', { id: 'konto-2', currency: 'XXX', subscriber: { msisdn: stranger } })
  const trace = { subscriber: anna.msisdn, reason: 'a ticket', seconds: 1, count: 1 }
  const token = readFileSync(join(place.data, 'admin.token'), 'utf8').trim()
  const shown = await fetch(`${ocsd.adminUrl}/v1/trace`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(trace),
  })
  const traced = await shown.text()
  t.equal(shown.status, 200, traced)
  t.equal(await ask(session, 'terminate', 2, anna.msisdn, { requested: undefined, used: [{ octets: 100_000n }] }), 2001)
  gateway.close()
  await done('POST', '/v1/accounts/konto-1/subscriptions', { offer: 'payg', reference: 's1' })
  await done('PATCH', '/v1/accounts/konto-1', { status: 'suspended' })
  await done('PATCH', '/v1/accounts/konto-1', { status: 'active' })

  const folders = (): string =>
    filesOf(place.data)
      .map(path => readFileSync(path, 'utf8'))
      .join('\n')
  await until('the ledger and the records are written', () => (folders().match(/konto-1/g) ?? []).length > 20)
  const metrics = await ocsd.metrics()
  const events = JSON.stringify(await done('GET', '/v1/events?limit=1000'))
  const ledger = JSON.stringify(await done('GET', '/v1/accounts/konto-1/ledger'))
  const auditlog = JSON.stringify(await done('GET', '/v1/auditlog'))
  t.match(events, /konto-1/)
  t.match(auditlog, /konto-1/)
  for (const [what, text] of Object.entries({ metrics, events, ledger, auditlog, log: ocsd.stdout + ocsd.stderr }))
    t.same(foundIn(text), [], what)
  for (const path of filesOf(place.data)) t.same(foundIn(readFileSync(path, 'utf8')), [], path.slice(place.data.length))
  const pseudonym = pseudonymsOf(join(place.data, 'pseudonym.key'))
  t.match(
    readFileSync(join(place.data, 'trace-audit.jsonl'), 'utf8'),
    pseudonym(anna.msisdn),
    'whose messages were shown',
  )
  t.same(await done('GET', `/v1/subscribers/msisdn/${anna.msisdn}/pseudonym`), { pseudonym: pseudonym(anna.msisdn) })

  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  const before = await dump(redis)
  t.ok(indexed(before, anna.msisdn) && indexed(before, anna.imsi) && before.includes(anna.nai), 'the store knows her')
  const person = await done('GET', `/v1/subscribers/msisdn/${anna.msisdn}/person`)
  t.same(foundIn(JSON.stringify(person)).sort(), Object.values(anna).sort(), 'all that is known of her')
  t.match(person, { account: { id: 'konto-1' }, ledger: [{ kind: 'create' }], missing: [] })

  const sum = (await done('GET', '/v1/accounts/konto-1'))['money']
  t.match(await done('POST', `/v1/subscribers/imsi/${anna.imsi}/erase`, { reason: 'she asked for it' }), {
    ...{ account: 'konto-1', erased: ['msisdn', 'imsi', 'nai'], lastOfAccount: true },
  })
  t.equal((await ocsd.api('GET', `/v1/subscribers/msisdn/${anna.msisdn}/person`)).status, 404)
  t.match(await done('GET', '/v1/accounts/konto-1'), { money: sum, subscribers: [] }, 'the money is where it was')
  const after = await dump(redis)
  t.same(foundIn(after), [])
  t.notOk(indexed(after, anna.msisdn) || indexed(after, anna.imsi), 'the index has forgotten her')
  t.same((await ocsd.audit()).violations, [])
  t.same(await ocsd.kill('SIGTERM'), { code: 0, signal: null })
  for (const path of filesOf(place.data)) t.same(foundIn(readFileSync(path, 'utf8')), [], path.slice(place.data.length))
  t.same(foundIn(ocsd.stdout + ocsd.stderr), [])
})
