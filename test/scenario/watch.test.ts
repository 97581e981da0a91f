/**
 * What an SRE sees of a daemon on a bad day: metrics that promtool likes, health that tells the truth, and nobody's number in
 * logs, metrics or error messages.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import type { AvpItem } from '../../src/diameter/tree.js'
import { ccrAvps, encodeCcr, type CcrInput } from '../../src/simulator/ccr.js'
import { Gateway } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { OcsdProcess, processFolder, until } from '../support/ocsd-process.js'
import { toolOrNotRun } from '../support/tools.js'
import { dictionary } from '../support/vectors.js'

/** As subscribers' identities may stand anywhere: whole, or as the digits that are left when a prefix is cut off. */
const canaries = {
  rich: { msisdn: '491799123450', imsi: '262039876543210', nai: 'canary.rich@example.org' },
  poor: { msisdn: '491799123461', imsi: '262039876543221', nai: 'canary.poor@example.org' },
  barred: { msisdn: '491799123472', imsi: '262039876543232', nai: 'canary.barred@example.org' },
  unknown: { msisdn: '491799123483', imsi: '262039876543243', nai: 'canary.unknown@example.org' },
}
type Canary = (typeof canaries)[keyof typeof canaries]
const marks = [...Object.values(canaries).flatMap(({ msisdn, imsi }) => [msisdn, imsi]), 'canary.']
const seenIn = (text: string): string[] => {
  const hex = (mark: string): string => Buffer.from(mark).toString('hex')
  return marks.filter(mark => [mark, hex(mark), Buffer.from(mark).toString('base64')].some(form => text.includes(form)))
}

const folder = processFolder(t, { log: { level: 'trace' }, charging: { holdBudget: '1500ms' } })
const ocsd = await OcsdProcess.start(t, folder)
const scrapes: { when: string; text: string }[] = []
async function scrape(when: string): Promise<void> {
  scrapes.push({ when, text: await ocsd.metrics() })
}
const answers: Message[] = []

t.test('the canary finds a number that is there', t => {
  t.same(seenIn(`charged ${canaries.rich.msisdn}`), [canaries.rich.msisdn])
  t.same(seenIn(`imsi=${Buffer.from(canaries.poor.imsi).toString('hex')}`), [canaries.poor.imsi])
  t.same(seenIn('who knows'), [])
  t.end()
})

t.test('a bad day', async t => {
  await scrape('at the start')
  for (const [name, { msisdn, imsi, nai }] of Object.entries(canaries)) {
    if (name === 'unknown') continue
    const { status } = await ocsd.api('POST', '/v1/accounts', {
      id: name,
      currency: 'EUR',
      balance: name === 'poor' ? '0.00' : '5.00',
      status: name === 'barred' ? 'suspended' : 'active',
      subscriber: { msisdn, imsi, nai, offers: ['payg'] },
    })
    t.equal(status, 201, `account ${name}`)
  }
  const gateway = new Gateway({
    dictionary,
    originHost: 'pgw.localdomain',
    originRealm: 'localdomain',
    destinationRealm: 'localdomain',
    patienceMs: 15_000,
  })
  const connection = await gateway.connect(ocsd.address)
  const send = async (avps: readonly AvpItem[]): Promise<number> => {
    const identifiers = { hopByHop: connection.nextHopByHop(), endToEnd: gateway.nextEndToEnd() }
    const answer = await connection.ask(encodeCcr(dictionary, avps, identifiers))
    answers.push(answer)
    return answer.resultCode
  }
  const ccr = (who: Partial<Canary>, more: Partial<CcrInput> = {}): CcrInput => ({
    type: 'initial',
    number: 0,
    sessionId: gateway.nextSessionId(),
    serviceContextId: '32251@3gpp.org',
    subscriptionIds: [
      ...(who.msisdn === undefined ? [] : [['e164', who.msisdn] as const]),
      ...(who.imsi === undefined ? [] : [['imsi', who.imsi] as const]),
      ...(who.nai === undefined ? [] : [['nai', who.nai] as const]),
    ],
    services: [{ ratingGroup: 10, requested: {} }],
    ...more,
  })
  const { rich, poor, barred, unknown } = canaries
  const ask = (...args: Parameters<typeof ccr>): Promise<number> => send(ccrAvps(gateway, ccr(...args)))

  const sessionId = gateway.nextSessionId()
  t.equal(await ask(rich, { sessionId }), 2001, 'served')
  const report = { used: [{ octets: 10_000_000n }], ratingGroup: 10, requested: {} }
  t.equal(await ask(rich, { sessionId, type: 'update', number: 1, services: [report] }), 2001)
  t.equal(await ask(poor), 4012, 'no money')
  t.equal(await ask(barred), 4010, 'suspended')
  t.equal(await ask(unknown), 5030, 'unknown')
  t.equal(await ask(rich, { type: 'update', number: 5 }), 5002, 'a session that never was')
  t.equal(await ask({ msisdn: rich.msisdn, imsi: poor.imsi }), 5007, 'two identities, two accounts')
  t.equal(await ask({ msisdn: poor.msisdn }, { sessionId, type: 'update', number: 2 }), 5004, "somebody else's session")
  t.equal(await ask(rich, { serviceContextId: 'other@example.org' }), 5031, 'no such service')
  t.equal(await ask(rich, { services: [{ ratingGroup: 999, requested: {} }] }), 5031, 'no such rating group')
  t.equal(await ask({ msisdn: `${unknown.msisdn}x` }), 5030, 'no number at all')
  const twice = [...ccrAvps(gateway, ccr(rich)), ['CC-Request-Number', 1] as const]
  t.equal(await send(twice), 5009, 'an AVP too many')
  const noNumber = ccrAvps(gateway, ccr(rich)).filter(avp => !('0' in avp) || avp[0] !== 'CC-Request-Number')
  t.equal(await send(noNumber), 5005, 'an AVP too few')

  // Operators' mistakes.
  for (const [method, path, body] of [
    ['GET', `/v1/subscribers/msisdn/${unknown.msisdn}`, undefined],
    ['GET', `/v1/subscribers/msisdn/${unknown.msisdn}x`, undefined],
    ['GET', `/v1/nowhere/${unknown.msisdn}`, undefined],
    ['POST', '/v1/accounts', { id: 'other', currency: 'EUR', subscriber: { msisdn: rich.msisdn, offers: ['payg'] } }],
    ['POST', '/v1/import', `account,msisdn,imsi,offer,balance,currency\nx,${unknown.msisdn},${rich.imsi},gold,1,EUR\n`],
  ] as const) {
    const { status } = await ocsd.api(method, path, body)
    t.ok(status === 200 || status >= 400, `${method} ${path.replace(/\d{6,}/, '…')}: ${status}`)
  }
  await scrape('after refusals')

  // The store freezes under a request with a number, and comes back; then it dies.
  process.kill(ocsd.redisPid(), 'SIGSTOP')
  t.equal(await ask(rich, { sessionId, type: 'update', number: 3, services: [report] }), 3004, 'no store')
  await until('/readyz notices', async () => (await ocsd.readyz())?.status === 503)
  await scrape('without the store')
  process.kill(ocsd.redisPid(), 'SIGCONT')
  await until('it is ready again', async () => (await ocsd.readyz())?.status === 200)
  const before = ocsd.redisPid()
  process.kill(before, 'SIGKILL')
  await until('redis-server runs again', () => ocsd.redisPid() !== before)
  await until('it is ready again', async () => (await ocsd.readyz())?.status === 200)
  t.equal(await ask(rich, { sessionId, type: 'update', number: 3, services: [report] }), 2001, 'served again')
  await scrape('after the death of the store')

  // A catalog with somebody's number where none belongs.
  writeFileSync(folder.catalog, readFileSync(folder.catalog, 'utf8').replace('rank: 100', 'ranck: 100'))
  ocsd.signal('SIGHUP')
  await until('it is refused', () => ocsd.stderr.includes('the catalog is refused'))
  // What is no Diameter, with a number in it, then half a message.
  for (const octets of [
    Buffer.from(`GET /${rich.msisdn} HTTP/1.1\r\n\r\n`),
    Buffer.from(`01000010${rich.imsi}`, 'hex'),
  ]) {
    const stranger = connect(ocsd.address)
    stranger.on('error', () => undefined)
    stranger.end(octets)
    await new Promise(resolve => stranger.once('close', resolve))
  }
  await scrape('at the end')
  await gateway.disconnect()
  t.same(await ocsd.kill('SIGTERM'), { code: 0, signal: null }, 'it ends as it should')
})

t.test('promtool finds nothing wrong with any scrape', t => {
  const promtool = toolOrNotRun(t, 'promtool', 'prometheus')
  for (const { when, text } of promtool === undefined ? [] : scrapes) {
    const { status, stdout, stderr } = spawnSync(promtool!, ['check', 'metrics'], { input: text, encoding: 'utf8' })
    t.same([status, stdout + stderr], [0, ''], when)
  }
  t.equal(scrapes.length, 5)
  t.end()
})

t.test('nobody is named', t => {
  t.ok(ocsd.stdout.split('\n').length > 20, 'the log has lines, down to level trace')
  t.same(seenIn(ocsd.stdout), [], 'in the log')
  t.same(seenIn(ocsd.stderr), [], 'on stderr')
  for (const { when, text } of scrapes) t.same(seenIn(text), [], `in the metrics ${when}`)
  const refused = answers.filter(({ resultCode }) => resultCode !== 2001)
  t.ok(refused.length >= 12, `${refused.length} refusals`)
  for (const answer of refused) {
    const words = answer.text('Error-Message')
    t.ok(words, `${answer.resultCode} says why: ${words ?? ''}`)
    t.same(seenIn(words ?? ''), [], 'and names nobody')
  }
  t.end()
})
