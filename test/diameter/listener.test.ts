/**
 * Listening sockets that are handed to the process: TCP through a child of this one, SCTP wherever the kernel has it, and one
 * message a write for both.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { keepWritesApart, reset } from '../../src/diameter/carriage.js'
import { messagesOf } from '../../src/diameter/frame.js'
import { descriptorOf, openListener } from '../../src/diameter/listener.js'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import type { Node } from '../../src/diameter/node.js'
import { Output } from '../../src/diameter/output.js'
import { VirtualClock } from '../../src/clock.js'
import { aDiameterConfig } from '../support/diameter-server.js'
import type { Handed } from '../support/handed-process.js'
import { aCcr, aCer, aDwr, RawClient, received } from '../support/raw-client.js'
import { notRun, toolOrNotRun } from '../support/tools.js'

const program = fileURLToPath(new URL('../support/handed-process.ts', import.meta.url))

void t.test('which descriptor is meant', t => {
  const pid = String(process.pid)
  const of = (fd: number | string, environment: Record<string, string>): number =>
    descriptorOf('diameter.listen', { fd }, environment)
  const two = { LISTEN_PID: pid, LISTEN_FDS: '2', LISTEN_FDNAMES: 'gy:gy-tls' }
  const good: [fd: number | string, environment: Record<string, string>, expected: number][] = [
    [3, two, 3],
    [4, two, 4],
    ['gy', two, 3],
    ['gy-tls', two, 4],
    [7, {}, 7],
    [7, { ...two, LISTEN_PID: '1' }, 7],
  ]
  for (const [fd, environment, expected] of good) t.equal(of(fd, environment), expected, `${fd} of ${environment['LISTEN_FDNAMES']}`) // prettier-ignore
  const bad: [fd: number | string, environment: Record<string, string>, message: string][] = [
    [5, two, 'diameter.listen: fd:5 was not handed over; there is fd:3 (gy), fd:4 (gy-tls)'],
    [
      'sy',
      two,
      'diameter.listen: no socket named sy was handed over: there is fd:3 (gy), fd:4 (gy-tls); set FileDescriptorName= in the socket unit',
    ],
    [
      'gy',
      { ...two, LISTEN_PID: '1' },
      'diameter.listen: no socket named gy was handed over: no socket was handed to this process (LISTEN_FDS and LISTEN_PID say so); start it by its systemd socket unit',
    ],
    ['third', { ...two, LISTEN_FDNAMES: 'gy:gy-tls:third' }, /there is fd:3 \(gy\), fd:4 \(gy-tls\);/.source],
  ]
  for (const [fd, environment, message] of bad) {
    t.throws(() => of(fd, environment), { message: message.startsWith('diameter') ? message : new RegExp(message) })
  }
  t.end()
})

/** A listening socket for a child; this process keeps none of it, so that the child alone accepts. */
async function listening(): Promise<{ server: Server; fd: number; port: number }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  // Node has no public way to the descriptor of a listening socket.
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle
  return { server, fd, port: (server.address() as AddressInfo).port }
}

/** Runs the process with something as its descriptor 3. `shell`: what is done before it takes the shell's place. */
async function handOver(t: Test, points: unknown, third: number, shell = ''): Promise<Handed> {
  const { PATH = '', HOME = '' } = process.env
  const command = [process.execPath, '--import=tsx', program, JSON.stringify(points)]
  const child: ChildProcess = spawn('/bin/sh', ['-c', `${shell} exec "$@"`, 'sh', ...command], {
    env: { PATH, HOME },
    stdio: ['pipe', 'pipe', 'inherit', third],
  })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.stdin!.end()
    await ended
  })
  return firstLine(child)
}

async function firstLine(child: ChildProcess): Promise<Handed> {
  let text = ''
  for await (const chunk of child.stdout!.setEncoding('utf8')) {
    text += chunk as string
    if (text.includes('\n')) return JSON.parse(text) as Handed
  }
  throw new Error(`the process ended: ${text}`)
}

/** CER, CCR and DWR in one write, and an answer to each. */
async function talk(t: Test, port: number, originHost: string): Promise<void> {
  const client = await RawClient.open(t, { port })
  client.send(aCer({ originHost }))
  t.equal((await client.next()).value('Result-Code'), 2001)
  client.send(...Array.from({ length: 5 }, (_, i) => aCcr({ hopByHop: 10 + i, originHost })), aDwr(20))
  const answers = await client.take(6)
  t.same(answers.map(({ header }) => header.hopByHop).sort(), [10, 11, 12, 13, 14, 20])
  t.ok(answers.every(answer => answer.value('Result-Code') === 2001))
  client.socket.destroy()
}

void t.test('a TCP socket that is handed over is served: by number, and by the name that systemd gave it', async t => {
  for (const [fd, shell] of [
    [3, ''],
    ['gy', 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=gy;'],
  ] as const) {
    const { server, fd: descriptor, port } = await listening()
    const handed = handOver(t, [{ fd }, { host: '127.0.0.1', port: 0 }], descriptor, shell)
    server.close()
    const { listens } = await handed
    t.match(listens?.[0], { host: '127.0.0.1', port })
    await talk(t, port, 'pgw1.example.net')
    await talk(t, listens![1]!.port, 'pgw2.example.net')
  }
})

void t.test('what is no listening socket is refused in words', async t => {
  const fd = openSync('/dev/null', 'r')
  t.teardown(() => closeSync(fd))
  const message =
    /^diameter\.listen: file descriptor \d+ is no socket to listen on \(.+\); hand over a listening stream socket/
  for (const point of [{ fd }, { fd: 987_654 }])
    await t.rejects(
      openListener('diameter.listen', point, () => undefined, {}),
      { message },
    )
  const notOurs = { LISTEN_PID: String(process.pid), LISTEN_FDS: '1' }
  await t.rejects(
    openListener('diameter.tls.listen', { fd: 4 }, () => undefined, notOurs),
    {
      message: 'diameter.tls.listen: fd:4 was not handed over; there is fd:3',
    },
  )
})

void t.test('each message is a write of its own, also those that wait for the system', async t => {
  const [ours, theirs] = await socketPair(t)
  keepWritesApart(ours)
  const writes: Buffer[] = []
  const write = ours._write.bind(ours)
  ours._write = (chunk: Buffer, ...rest) => {
    writes.push(Buffer.from(chunk))
    write(chunk, ...rest)
  }
  const node = {
    config: aDiameterConfig(),
    clock: new VirtualClock(),
    bodies: { dwa: Buffer.alloc(200_000) },
    tap: undefined,
  } as unknown as Node
  const traffic = new DiameterCounters([]).traffic('unknown')
  const owner = { connection: undefined as never, overflow: () => t.fail('overflow'), stuck: () => undefined }
  const output = new Output(ours, node, owner, traffic, true)
  const header = received(aDwr(1)).header
  for (let i = 0; i < 15; i++) output.baseAnswer({ ...header, hopByHop: i }, node.bodies.dwa)
  output.flush()
  let octets = 0
  for await (const chunk of theirs) if ((octets += (chunk as Buffer).length) === 15 * 200_020) break
  t.equal(writes.length, 15)
  t.ok(writes.every(each => [...messagesOf(each)].length === 1 && each.length === 200_020))
})

void t.test('a connection whose end is on its way is ended at once all the same', async t => {
  const [ours] = await socketPair(t)
  ours.end()
  reset(ours)
  await once(ours, 'close')
  const [other, theirs] = await socketPair(t)
  const heard = once(theirs, 'error')
  reset(other)
  t.match(await heard, [{ code: 'ECONNRESET' }], 'one that is open is reset')
})

async function socketPair(t: Test): Promise<[Socket, Socket]> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const theirs = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [[ours]] = (await Promise.all([once(server, 'connection'), once(theirs, 'connect')])) as [[Socket], unknown]
  t.teardown(() => {
    for (const each of [ours, theirs]) each.destroy()
    server.close()
  })
  return [ours, theirs]
}

/** Opens a listening socket of a protocol, and becomes the process with it as systemd would. */
const launcher = `
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, int(sys.argv[1]))
s.bind(('127.0.0.1', 0)); s.listen(8)
if s.fileno() != 3: os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='gy')
os.execv(sys.argv[2], sys.argv[2:])
`

/** Sends each argument as a message of its own, and writes what each read gave, until as many messages came. */
const client = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, int(sys.argv[1]))
s.settimeout(20); s.connect(('127.0.0.1', int(sys.argv[2])))
def come(count):
    octets = b''
    while count > 0:
        data = s.recv(65536)
        if not data: sys.exit('closed')
        print(data.hex())
        octets += data
        while len(octets) >= 4 and len(octets) >= int.from_bytes(octets[1:4], 'big'):
            octets = octets[int.from_bytes(octets[1:4], 'big'):]; count -= 1
s.sendall(bytes.fromhex(sys.argv[3])); come(1)
for message in sys.argv[4:]: s.sendall(bytes.fromhex(message))
come(len(sys.argv) - 4)
`

const protocols = { TCP: 6, SCTP: 132 } as const

for (const name of ['TCP', 'SCTP'] as const) {
  void t.test(name, async t => {
    const python = toolOrNotRun(t, 'python3', 'python3')
    if (python === undefined) return
    const protocol = String(protocols[name])
    const probe = `import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, ${protocol})`
    if (name === 'SCTP' && !runs(python, probe)) {
      notRun(t, 'kernel module sctp missing')
      return
    }
    const { PATH = '', HOME = '' } = process.env
    const command = [process.execPath, '--import=tsx', program, '[{"fd":"gy"}]']
    const child = spawn(python, ['-c', launcher, protocol, ...command], {
      env: { PATH, HOME },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const ended = once(child, 'exit')
    t.teardown(async () => {
      child.stdin.end()
      await ended
    })
    const { listens } = await firstLine(child)
    const messages = [aCer(), ...Array.from({ length: 20 }, (_, i) => aCcr({ hopByHop: 10 + i })), aDwr(99)]
    const { port } = listens![0]!
    const args = ['-c', client, protocol, String(port), ...messages.map(each => each.toString('hex'))]
    const reads = execFileSync(python, args, { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map(line => Buffer.from(line, 'hex'))
    const answers = [...messagesOf(Buffer.concat(reads))].map(received)
    t.equal(answers.length, messages.length)
    t.ok(answers.every(answer => answer.value('Result-Code') === 2001))
    if (name === 'SCTP') t.equal(reads.length, messages.length, 'each message came alone')
  })
}

function runs(python: string, code: string): boolean {
  try {
    execFileSync(python, ['-c', code], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
