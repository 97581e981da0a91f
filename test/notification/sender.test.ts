/**
 * One attempt at a webhook against receivers that answer well, badly, slowly or not at all.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { systemClock, VirtualClock, type Clock } from '../../src/clock.js'
import { Sender, signature, type AttemptResult, type WebhookTarget } from '../../src/notification/sender.js'
import { until } from '../support/ledger.js'

interface Received {
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

async function aReceiver(
  t: Test,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ url: string; received: Received[]; server: Server }> {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      received.push({ headers: request.headers, body: Buffer.concat(pieces) })
      answer(request, response)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?x=1`, received, server }
}

function attempt(
  t: Test,
  url: string,
  changes: Partial<WebhookTarget> = {},
  clock: Clock = systemClock,
): Promise<AttemptResult> {
  const sender = new Sender(clock, 2)
  t.teardown(() => sender.close())
  const target = {
    url,
    secrets: ['new secret', 'old secret'],
    headers: { 'X-Tenant': 'mvno' },
    timeoutMs: 5000,
    ...changes,
  }
  return sender.send(target, 'e-1', '{"id":"e-1","data":"ü"}')
}

/** As the README shows it to receivers. */
function isFromOcs(body: Buffer, header: string, secret: string, now = Date.now() / 1000): boolean {
  const parts = header.split(',').map(part => part.split('='))
  const time = parts.find(([name]) => name === 't')?.[1]
  if (!(Math.abs(now - Number(time)) < 300)) return false
  const mine = createHmac('sha256', secret).update(`${time}.`).update(body).digest()
  const theirs = parts.filter(([name]) => name === 'v1').map(([, hex]) => Buffer.from(hex!, 'hex'))
  return theirs.some(each => each.length === mine.length && timingSafeEqual(each, mine))
}

t.test('an event arrives whole, with its id and a signature that each of two secrets verifies', async t => {
  const { url, received } = await aReceiver(t, (_, response) => response.writeHead(204).end())
  t.same(await attempt(t, url), { status: 'delivered', code: 204 })
  const [{ headers, body }] = received as [Received]
  t.match(headers, { 'content-type': 'application/json', 'ocs-event-id': 'e-1', 'x-tenant': 'mvno' })
  t.equal(body.toString(), '{"id":"e-1","data":"ü"}')
  const header = String(headers['ocs-signature'])
  t.ok(isFromOcs(body, header, 'new secret'), 'the new one')
  t.ok(isFromOcs(body, header, 'old secret'), 'the old one')
  t.notOk(isFromOcs(body, header, 'another'), 'no other')
  t.notOk(isFromOcs(Buffer.from('{}'), header, 'new secret'), 'no other body')
  t.notOk(isFromOcs(body, header, 'new secret', Date.now() / 1000 + 3600), 'not an hour later')
  t.end()
})

t.test('a signature is the HMAC of time and body', t => {
  const hex = createHmac('sha256', 'key').update('1700000000.{}').digest('hex')
  t.equal(signature(['key'], 1_700_000_000, '{}'), `t=1700000000,v1=${hex}`)
  t.end()
})

const answers: readonly [string, (response: ServerResponse) => void, object][] = [
  ['200', r => r.end('fine'), { status: 'delivered', code: 200 }],
  ['302 is not followed', r => r.writeHead(302, { location: '/elsewhere' }).end(), { result: 'redirect', code: 302 }],
  ['404', r => r.writeHead(404).end('secret detail'), { result: 'client-error', why: 'answered 404' }],
  ['503', r => r.writeHead(503).end(), { result: 'server-error', code: 503 }],
  ['a connection that is reset', r => r.socket!.resetAndDestroy(), { result: 'broken' }],
  [
    'one that ends in the middle of its answer',
    r => {
      r.writeHead(200, { 'content-length': 100 })
      r.write('half', () => r.socket!.destroy())
    },
    { result: 'broken' },
  ],
]

for (const [name, answer, expected] of answers)
  t.test(`an answer: ${name}`, async t => {
    const { url, received } = await aReceiver(t, (_, response) => answer(response))
    const result = await attempt(t, url)
    t.match(result, expected)
    t.notMatch(JSON.stringify(result), /secret|127\.0\.0\.1/, 'no detail of ours or of theirs')
    t.equal(received.length, 1, 'asked once')
  })

t.test('an answer without end is read 64 KiB far', async t => {
  let written = 0
  const { url } = await aReceiver(t, (_, response) => {
    response.writeHead(200)
    const more = (): void => {
      while (!response.destroyed && written < 1e9) {
        written += 16_384
        if (!response.write(Buffer.alloc(16_384))) {
          response.once('drain', more)
          return
        }
      }
    }
    more()
  })
  t.match(await attempt(t, url), { status: 'delivered', code: 200 })
  t.ok(written < 50e6, `${written} octets`)
})

t.test('who does not answer, or drips, is given up at the time limit', async t => {
  for (const start of [() => undefined, (r: ServerResponse) => void r.writeHead(200).write('.')] as ((
    r: ServerResponse,
  ) => void)[]) {
    const clock = new VirtualClock()
    const { url, received } = await aReceiver(t, (_, response) => start(response))
    const result = attempt(t, url, { timeoutMs: 7000 }, clock)
    await until(() => received.length === 1)
    clock.advance(6_999)
    const early = await Promise.race([result, new Promise(resolve => setImmediate(resolve))])
    t.equal(early, undefined, 'not before')
    clock.advance(1)
    t.match(await result, { status: 'failed', result: 'timeout', why: 'no answer within 7000 ms' })
  }
})

t.test('where nobody listens, or something that is no HTTP', async t => {
  const server = createTcpServer(socket => socket.resume().end('220 mail ready\r\n'))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  t.match(await attempt(t, `http://127.0.0.1:${port}/`), { status: 'failed' }, 'another protocol')
  await new Promise(resolve => server.close(resolve))
  t.match(await attempt(t, `http://127.0.0.1:${port}/`), { result: 'unreachable', why: 'no connection (ECONNREFUSED)' })
  t.match(await attempt(t, `https://127.0.0.1:${port}/`), { result: 'unreachable' }, 'https')
})
