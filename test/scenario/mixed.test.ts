/**
 * A relayed, a TLS and a direct client side by side, with sessions, events, refunds, pools and recharges, against two daemons on
 * one Redis: every account has in the end what the clients' books say. And a recharge at one daemon asks the gateway that
 * is connected to the other. The relay is freeDiameter; where it is not installed, a connection that says it is one.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Journal } from '../../src/balance/journal.js'
import { Snapshot } from '../../src/balance/snapshot.js'
import { Store } from '../../src/balance/store.js'
import { systemClock } from '../../src/clock.js'
import { audit } from '../../src/ledger/audit.js'
import type { CcrInput, ServiceInput } from '../../src/simulator/ccr.js'
import { Gateway, type Address, type GatewayConnection } from '../../src/simulator/gateway.js'
import type { Message } from '../../src/simulator/message.js'
import { parseMoney } from '../../src/units.js'
import { Authority } from '../support/certificates.js'
import { Relay, relayTools } from '../support/freediameter.js'
import { aSeed, seeded } from '../support/load.js'
import { OcsdProcess, processFolder, startTcpRedis, until } from '../support/ocsd-process.js'
import { linesOf, MiB, Talk } from '../support/scenario.js'
import { noMetrics } from '../support/store.js'
import { dictionary } from '../support/vectors.js'

const realm = 'charging.example.net'
const partitions = 16
const rounds = 8
const [RAR, QUOTA_EXHAUSTED] = [258, 3]
const ask = { requested: {} }

/** A gateway, and where it is recharged: at the daemon that it is not connected to. */
interface Client {
  readonly name: string
  readonly gateway: Gateway
  readonly connection: GatewayConnection
  /** Who gets the requests of the server. */
  readonly attendant: Gateway
  readonly elsewhere: OcsdProcess
}

/** What a client has put into an account and taken out of it, micros. */
interface Book {
  readonly account: string
  money: bigint
}

t.test('a relayed, a TLS and a direct client on two daemons: the balances are those of their books', async t => {
  const authority = Authority.make(t)
  if (!authority) return
  const random = seeded(aSeed(t))
  const { redis, url } = await startTcpRedis(t)
  const folders = ['ocs1', 'ocs2'].map(name => {
    const { certificate, key } = authority.issue(`${name}.${realm}`)
    const row = (row: object): object => ({ from: ['127.0.0.0/8'], realm: 'example.net', ...row })
    return processFolder(t, {
      catalog: fileURLToPath(new URL('../flows/catalog.yaml', import.meta.url)),
      diameter: {
        ...{ identity: `${name}.${realm}`, realm },
        tls: { listen: ['127.0.0.1:0'], certificate, key, authority: authority.certificate },
        peers: [
          row({ name: 'relay', identity: 'dra1.example.net', relay: true }),
          row({ name: 'secure', identity: 'pgw2.example.net', transport: 'tls' }),
          row({ name: 'direct', identity: 'pgw3.example.net' }),
        ],
      },
      store: { kind: 'url', url, durability: 'memory', partitions },
    })
  })
  const [one, two] = (await Promise.all(folders.map(folder => OcsdProcess.start(t, folder)))) as [
    OcsdProcess,
    OcsdProcess,
  ]
  const clients = await connected(t, authority, one, two)
  const books: Book[] = []
  const afterMs: number[] = []
  const play = new Play(t, one, random, books, afterMs)

  await Promise.all(clients.flatMap(client => play.roles.map(role => role(client))))
  t.ok(play.answered > rounds * 3 * 4 * 2, `${play.answered} answers`)
  t.ok(play.repeats > 0, `${play.repeats} of them to repeats, each the same as before`)
  t.equal(afterMs.length, clients.length * rounds, 'each recharge asked once')
  t.comment(`RAR under load: ${inWords(afterMs)}`)

  await t.test('a recharge at one daemon reaches the gateway of the other', async t => {
    const alone: number[] = []
    const quiet = new Play(t, one, random, books, alone)
    for (const client of clients) {
      const before = alone.length
      await quiet.recharges(client)
      t.comment(`RAR to the ${client.name} client: ${inWords(alone.slice(before))}`)
    }
    t.equal(alone.length, clients.length * rounds, 'each recharge asked once')
    t.comment(`RAR: ${inWords(alone)}`)
  })

  for (const { account, money } of books) {
    const { body } = await two.api('GET', `/v1/accounts/${account}`)
    const found = ['money', 'held', 'debt'].map(name => parseMoney(body[name] as string))
    t.same(found, [money, 0n, 0n], `account ${account}`)
  }
  t.equal(books.length, clients.length * (play.roles.length + 1))
  const store = new Store({
    config: { kind: 'embedded', durability: 'memory', partitions },
    address: { socket: redis.socket },
    log: pino({ level: 'silent' }),
    metrics: noMetrics,
    clock: systemClock,
  })
  await store.open(5000)
  t.teardown(() => store.close())
  const { problems, accounts } = await audit({
    directories: folders.map(({ data }) => join(data, 'ledger')),
    journal: new Journal(store, partitions, systemClock),
    snapshot: new Snapshot(store, partitions, systemClock),
  })
  t.same([problems, accounts], [[], books.length], 'the audit over both ledgers finds nothing')
})

/** The relayed and the direct client at the first daemon, the one with TLS at the second. */
async function connected(t: Test, authority: Authority, one: OcsdProcess, two: OcsdProcess): Promise<Client[]> {
  const gatewayOf = (originHost: string): Gateway =>
    new Gateway({
      ...{ dictionary, originHost, originRealm: 'example.net', destinationRealm: realm, patienceMs: 30_000 },
      // Of a session that is over.
      onRequest: () => ({ resultCode: 5002 }),
    })
  const connect = async (gateway: Gateway, address: Address): Promise<GatewayConnection> => {
    const connection = await gateway.connect(address)
    t.teardown(() => connection.abort())
    return connection
  }
  const [relayed, secure, direct] = ['pgw1', 'pgw2', 'pgw3'].map(name => gatewayOf(`${name}.example.net`)) as [
    Gateway,
    Gateway,
    Gateway,
  ]

  const { program, whitelist } = relayTools()
  let relay: Pick<Client, 'connection' | 'attendant'>
  if (program !== undefined && whitelist !== undefined) {
    const agent = await Relay.start(
      t,
      { program, whitelist },
      {
        ...{ identity: 'dra1.example.net', realm: 'example.net', authority },
        server: { identity: `ocs1.${realm}`, port: one.address.port, tls: false },
      },
    )
    relay = { connection: await connect(relayed, agent.address), attendant: relayed }
  } else {
    const agent = gatewayOf('dra1.example.net')
    relay = { connection: await connect(agent, one.address), attendant: agent }
  }
  t.comment(`the relay is ${relay.attendant === relayed ? 'freeDiameter' : 'a connection of ours'}`)

  const { certificate, key } = authority.issue(secure.originHost)
  const tls = {
    ...{ ca: readFileSync(authority.certificate), cert: readFileSync(certificate), key: readFileSync(key) },
    serverName: `ocs2.${realm}`,
  }
  const overTls = await connect(secure, { host: '127.0.0.1', port: two.tlsPort, tls })
  const plain = await connect(direct, one.address)
  return [
    { name: 'relayed', gateway: relayed, ...relay, elsewhere: two },
    { name: 'TLS', gateway: secure, connection: overTls, attendant: secure, elsewhere: one },
    { name: 'direct', gateway: direct, connection: plain, attendant: direct, elsewhere: two },
  ]
}

/** What subscribers do; each role has an account of its own at each client. */
class Play {
  answered = 0
  repeats = 0
  readonly roles = [
    (client: Client) => this.sessions(client),
    (client: Client) => this.events(client),
    (client: Client) => this.pools(client),
    (client: Client) => this.recharges(client),
  ]

  constructor(
    private readonly t: Test,
    private readonly ocsd: OcsdProcess,
    private readonly random: () => number,
    private readonly books: Book[],
    /** From each recharge to its RAR. */
    private readonly afterMs: number[],
  ) {}

  /** Data at 0.01 a started MiB of a session. */
  async sessions(client: Client): Promise<void> {
    const book = await this.account('flows', '100.00')
    for (let round = 0; round < rounds; round++) {
      const talk = this.talk(client, book)
      let granted = grantOf(await this.ask(client, talk.input('initial', 0, [{ ratingGroup: 10, ...ask }])))
      let used = 0n
      const updates = 1 + this.some(4)
      for (let number = 1; number <= updates; number++) {
        const octets = BigInt(this.some(Number(granted)))
        used += octets
        const service = { ratingGroup: 10, used: [{ octets }], ...(number < updates && ask) }
        granted = grantOf(
          await this.ask(client, talk.input(number < updates ? 'update' : 'terminate', number, [service])),
        )
      }
      book.money -= ((used + MiB - 1n) / MiB) * 10_000n
    }
  }

  /** SMS at 0.09, some of them given back; questions are free. */
  async events(client: Client): Promise<void> {
    const book = await this.account('flows', '10.00')
    const service: ServiceInput = { serviceIdentifiers: [1], requested: { events: 1n } }
    const event = (parts: Partial<CcrInput>): Promise<Message> => {
      const talk = this.talk(client, book, { serviceContextId: '32274@3gpp.org', ...parts })
      return this.ask(client, talk.input('event', 0, parts.services ?? []))
    }
    for (let round = 0; round < rounds; round++) {
      const debit = await event({ action: 'debit', services: [service] })
      book.money -= 90_000n
      const refund = debit.group('Multiple-Services-Credit-Control')!.all('Refund-Information')[0]!.value as Buffer
      if (this.random() < 0.5) {
        await event({ action: 'refund', services: [{ ...service, refund }] })
        book.money += 90_000n
      }
      const check = await event({ action: 'check-balance', services: [], units: service })
      this.t.equal(check.number('Check-Balance-Result'), 0)
      await event({ action: 'price', services: [], units: service })
    }
  }

  /** Two rating groups of one pool: 0.01 and 0.025 a MB, to the octet. */
  async pools(client: Client): Promise<void> {
    const book = await this.account('flows-pool', '100.00')
    for (let round = 0; round < rounds; round++) {
      const talk = this.talk(client, book)
      const asked = [10, 20].map(ratingGroup => ({ ratingGroup, ...ask }))
      await this.ask(client, talk.input('initial', 0, asked))
      for (const number of [1, 2]) {
        const thousands = [this.some(4000), this.some(1000)] as const
        const services = asked.map((service, i) => ({
          ...(number === 1 ? service : { ratingGroup: service.ratingGroup }),
          used: [{ octets: BigInt(thousands[i]!) * 1000n }],
        }))
        await this.ask(client, talk.input(number === 1 ? 'update' : 'terminate', number, services))
        book.money -= BigInt(thousands[0] * 10 + thousands[1] * 25)
      }
    }
  }

  /** Used up and redirected; recharged at the daemon that the gateway is not connected to; asked, it goes on. */
  async recharges(client: Client): Promise<void> {
    const book = await this.account('flows-redirect', '0.05')
    for (let round = 0; round < rounds; round++) {
      const talk = this.talk(client, book)
      const requests: Message[] = []
      let arrived = 0
      client.attendant.attendants.set(talk.id, request => {
        arrived = performance.now()
        requests.push(request)
        return { resultCode: 2002 }
      })
      const opened = await this.ask(client, talk.input('initial', 0, [{ ratingGroup: 10, ...ask }]))
      this.t.equal(grantOf(opened), 5n * MiB, 'the last units')
      const last = { ratingGroup: 10, used: [{ octets: 5n * MiB, reason: QUOTA_EXHAUSTED }] }
      const redirected = await this.ask(client, talk.input('update', 1, [last]))
      book.money -= 50_000n
      this.t.same([grantOf(redirected), requests], [0n, []], 'nothing is left, and nobody is asked')

      const sent = performance.now()
      const { status } = await client.elsewhere.api('POST', `/v1/accounts/${book.account}/recharges`, {
        ...{ amount: '0.05', currency: 'EUR', channel: 'test', reference: talk.id },
      })
      this.t.equal(status, 201, 'recharged')
      book.money += 50_000n
      await until('the gateway is asked', () => requests.length > 0)
      this.afterMs.push(arrived - sent)
      const on = await this.ask(client, talk.input('update', 2, [{ ratingGroup: 10, ...ask }]))
      this.t.equal(grantOf(on), 5n * MiB, 'it goes on')
      await this.ask(client, talk.input('terminate', 3, []))
      this.t.same(
        requests.map(request => [request.header.commandCode, request.text('Destination-Host')]),
        [[RAR, client.gateway.originHost]],
        'it was asked once',
      )
      client.attendant.attendants.delete(talk.id)
    }
  }

  private async account(offer: string, balance: string): Promise<Book> {
    const account = String(447_701_000_000 + this.books.length)
    const book = { account, money: parseMoney(balance)! }
    this.books.push(book)
    const subscriber = { msisdn: account, offers: [offer] }
    const { status } = await this.ocsd.api('POST', '/v1/accounts', {
      id: account,
      currency: 'EUR',
      balance,
      subscriber,
    })
    this.t.equal(status, 201, 'an account')
    return book
  }

  private talk({ gateway }: Client, { account }: Book, parts: Partial<CcrInput> = {}): Talk {
    return new Talk(gateway, [['e164', account]], parts)
  }

  /** Sends it; sometimes once more with the T bit, for the same answer. */
  private async ask({ gateway, connection }: Client, ccr: CcrInput): Promise<Message> {
    const endToEnd = gateway.nextEndToEnd()
    const send = (retransmitted: boolean): Promise<Message> =>
      connection.ask(gateway.encode(ccr, { hopByHop: connection.nextHopByHop(), endToEnd, retransmitted }))
    const answer = await send(false)
    this.answered++
    if (answer.resultCode !== 2001) {
      this.t.fail(`${ccr.type} ${ccr.number}: ${answer.resultCode} ${answer.text('Error-Message') ?? ''}`)
    }
    if (this.random() < 0.2) {
      const again = await send(true)
      this.repeats++
      // What a balance check or a price says may be another one by then.
      if (ccr.action === undefined || ccr.action === 'debit' || ccr.action === 'refund') {
        this.t.same(linesOf(again), linesOf(answer), 'the same answer')
      }
    }
    return answer
  }

  /** 0 up to, and with, a number. */
  private some(most: number): number {
    return Math.floor(this.random() * (most + 1))
  }
}

const grantOf = (answer: Message): bigint => linesOf(answer)[0]?.octets ?? 0n

function inWords(ms: readonly number[]): string {
  const sorted = [...ms].sort((a, b) => a - b)
  const at = (part: number): string => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!.toFixed(0)
  return `${sorted.length} of them, median ${at(0.5)} ms, 95 of 100 within ${at(0.95)} ms, longest ${at(1)} ms`
}
