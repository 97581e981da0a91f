/**
 * Listens in: a port that passes octets on to a daemon and back, and keeps every message in the order in which it went by.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'
import { Framer } from '../../src/diameter/frame.js'

export interface WireMessage {
  /** 0 for the first connection. */
  readonly connection: number
  readonly from: 'client' | 'server'
  readonly octets: Buffer
}

export interface Wire {
  /** Where clients connect. */
  readonly port: number
  readonly messages: readonly WireMessage[]
  /** Resolves when every connection that was made is closed. */
  closed(): Promise<void>
}

/**
 * Ends with `t`.
 *
 * @param onMessage called after each message is kept
 */
export async function listenIn(t: Test, daemonPort: number, onMessage?: () => void): Promise<Wire> {
  const messages: WireMessage[] = []
  const closings: Promise<unknown>[] = []
  const listener = createServer({ noDelay: true }, client => {
    const connection = closings.length
    const server = connect({ host: '127.0.0.1', port: daemonPort, noDelay: true })
    const record = (from: WireMessage['from']) => (octets: Buffer) => {
      messages.push({ connection, from, octets: Buffer.from(octets) })
      onMessage?.()
    }
    pass(client, server, record('client'))
    pass(server, client, record('server'))
    closings.push(new Promise(resolve => server.once('close', resolve)))
    t.teardown(() => {
      client.destroy()
      server.destroy()
    })
  })
  t.teardown(() => listener.close())
  await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
  return {
    port: (listener.address() as AddressInfo).port,
    messages,
    closed: async () => {
      await Promise.all(closings)
    },
  }
}

function pass(from: Socket, to: Socket, record: (octets: Buffer) => void): void {
  const framer = new Framer(1 << 24)
  let readable = true
  from.on('data', chunk => {
    try {
      // What has no length that can be is passed on all the same, unrecorded.
      if (readable) framer.push(chunk, octets => record(octets))
    } catch {
      readable = false
    }
    to.write(chunk)
  })
  from.on('end', () => to.end())
  from.on('error', () => to.destroy())
  from.on('close', () => to.end())
}
