/** Traces over HTTP: JSON lines as they come, a reader who is slow, one who goes. */
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import t, { type Test } from 'tap'
import { BoundedLines } from '../../src/admin/bounded-lines.js'
import type { TraceRequest } from '../../src/trace/service.js'
import type { TracedMessage, TraceReader } from '../../src/trace/tracing.js'
import { startAdmin, token, type Reply } from '../support/admin.js'

const aMessage: TracedMessage = {
  ...{ at: Date.UTC(2026, 0, 15), daemon: 'a', host: 'ocs', direction: 'in', peer: 'pgw' },
  ...{ remote: { address: '192.0.2.1', port: 1 }, local: { address: '192.0.2.2', port: 3868 } },
  octets: Buffer.alloc(3000, 7),
}

interface Line {
  readonly kind: string
  readonly messages?: number
  readonly why?: string
  readonly lost?: number
}

interface Served {
  readonly requests: TraceRequest[]
  readonly readers: TraceReader[]
  readonly stopped: string[]
  readonly open: (body: object) => Promise<IncomingMessage>
}

async function served(t: Test): Promise<Served> {
  const requests: TraceRequest[] = []
  const readers: TraceReader[] = []
  const stopped: string[] = []
  const { api } = await startAdmin(t, {
    startTrace: (request, reader) => {
      requests.push(request)
      readers.push(reader)
      return { status: 'started', trace: { id: 'trace-1', stop: why => void stopped.push(why) } }
    },
    showMessage: ({ octets, daemon, direction, remote, local }) => ({
      ...{ at: '2026-01-15T00:00:00.000Z', daemon, direction, from: 'pgw', to: 'ocs', remote, local, text: [] },
      octets: octets.toString('base64'),
    }),
  })
  return {
    ...{ requests, readers, stopped },
    open: async body => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const call = request({ host: '127.0.0.1', port: api.port, path: '/v1/trace', method: 'POST', headers })
      call.end(JSON.stringify(body))
      const [response] = (await once(call, 'response')) as [IncomingMessage]
      t.teardown(() => call.destroy())
      return response
    },
  }
}

async function readAll(response: IncomingMessage): Promise<Line[]> {
  let text = ''
  for await (const chunk of response) text += (chunk as Buffer).toString()
  return text.trimEnd().split('\n').map(line => JSON.parse(line) as Line) // prettier-ignore
}

t.test('messages come as lines of JSON, until the end', async t => {
  const { open, requests, readers } = await served(t)
  const response = await open({ peer: 'pgw', reason: 'interop' })
  t.equal(response.headers['content-type'], 'application/x-ndjson')
  t.match(requests[0], { peer: 'pgw', reason: 'interop', actor: 'admin-api', count: 1000, seconds: 60 })
  t.equal(readers[0]!.message(aMessage), true)
  readers[0]!.lost(5)
  readers[0]!.ended('time', { messages: 1, lost: 5 })
  t.match(await readAll(response), [
    { kind: 'started', id: 'trace-1' },
    { kind: 'message', from: 'pgw', direction: 'in', octets: aMessage.octets.toString('base64') },
    { kind: 'lost', messages: 5, why: 'too many a second' },
    { kind: 'ended', why: 'time', messages: 1, lost: 5 },
  ])
})

t.test(
  'a reader who does not read loses messages, and is told how many; the daemon keeps no more than its limit',
  async t => {
    const { open, readers } = await served(t)
    const response = await open({ peer: 'pgw', reason: 'interop' })
    const [reader] = readers
    let refused = 0
    let offered = 0
    // As much as the system's buffers take, and then some more than may wait.
    while (refused < 100) {
      for (let i = 0; i < 100; i++, offered++) if (!reader!.message(aMessage)) refused++
      await new Promise(resolve => setImmediate(resolve))
    }
    reader!.ended('time', { messages: offered - refused, lost: refused })
    const lines = await readAll(response)
    const shown = lines.filter(({ kind }) => kind === 'message').length
    const told = lines.filter(({ kind }) => kind === 'lost').reduce((sum, { messages }) => sum + messages!, 0)
    t.equal(shown, offered - refused)
    t.equal(told, refused, 'what is missing is told where it is missing')
    t.match(lines.at(-1), { kind: 'ended', lost: refused })
  },
)

t.test('a reader who goes ends the trace', async t => {
  const { open, stopped } = await served(t)
  const response = await open({ peer: 'pgw', reason: 'interop' })
  response.destroy()
  while (stopped.length === 0) await new Promise(resolve => setImmediate(resolve))
  t.same(stopped, ['stopped'])
})

t.test('one identity of a subscriber stands for all of them, and for the sessions that are open', async t => {
  const requests: TraceRequest[] = []
  const admin = await startAdmin(t, { startTrace: request => (requests.push(request), { status: 'too_many' }) })
  const subscriber = { msisdn: '491701000001', imsi: '262011701000001' }
  await admin.request('POST', '/v1/accounts', { id: 'anna', currency: 'EUR', subscriber })
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['491701000001', ['491701000001', '491701000001', '262011701000001']],
    ['262011701000001', ['262011701000001', '491701000001', '262011701000001']],
    ['imsi:262011701000001', ['262011701000001', '491701000001', '262011701000001']],
    ['+491709999999', ['+491709999999']],
    ['anna@ims.example', ['anna@ims.example']],
  ]
  for (const [written, identities] of cases) {
    const { status, body } = await admin.request('POST', '/v1/trace', { subscriber: written, reason: 'ticket' })
    t.equal(status, 429)
    t.equal(body['type'], 'urn:ocsd:problem:too-many-traces')
    t.same(requests.at(-1)?.identities, identities, written)
  }
})

t.test('a trace that cannot be recorded is not begun, and one of nobody is refused', async t => {
  const admin = await startAdmin(t, { startTrace: () => ({ status: 'not_recorded', why: 'disk full' }) })
  const ask = (body: object): Promise<Reply> => admin.request('POST', '/v1/trace', body)
  const refused = await ask({ peer: 'pgw', reason: 'interop' })
  t.match(refused, { status: 500, body: { type: 'urn:ocsd:problem:not-recorded', detail: /disk full/ } })
  t.match(await ask({ reason: 'interop' }), { status: 400, body: { detail: /name a subscriber/ } })
  t.equal((await ask({ peer: 'pgw' })).status, 400, 'no reason')
  t.equal((await ask({ peer: 'pgw', reason: 'interop', seconds: 3601 })).status, 400)
})

t.test('lines are offered while there is room, and the last one always comes', async t => {
  let gone = 0
  const lines = new BoundedLines(10, () => gone++)
  const taken = Array.from({ length: 5 }, () => lines.offer({ n: 1 }))
  t.same(taken, [true, true, false, false, false], 'nobody reads yet')
  lines.finish({ n: 2 })
  let text = ''
  for await (const chunk of lines) text += String(chunk)
  t.equal(text, '{"n":1}\n{"n":1}\n{"n":2}\n')
  t.equal(lines.offer({ n: 3 }), false)
  t.equal(gone, 0)
})
