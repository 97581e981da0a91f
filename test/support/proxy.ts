/**
 * A TCP proxy that behaves as networks do: it delays, freezes, swallows replies and cuts. Between a Store and a real redis-server.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface Proxy {
  readonly port: number
  /** Connections that were made so far. */
  readonly connections: () => number
  /** Nothing passes in either direction until `thaw`; it is kept, not lost. */
  freeze(): void
  thaw(): void
  /** Requests pass, replies are lost. Resolves when one was lost. */
  swallowReplies(): Promise<void>
  /** Ends all connections with a reset; new ones are welcome, and pass everything. */
  cut(): void
}

/** Proxy in front of a unix socket; ends with the test. */
export async function startProxy(t: Test, socket: string): Promise<Proxy> {
  let frozen = false
  let swallowed: (() => void) | undefined
  let connections = 0
  const pairs = new Set<readonly [Socket, Socket]>()
  const server = createServer(client => {
    connections++
    const target = connect(socket)
    const pair = [client, target] as const
    pairs.add(pair)
    let swallowing = false
    if (frozen) for (const side of pair) side.pause()
    client.on('data', data => target.write(data))
    target.on('data', data => {
      swallowing ||= swallowed !== undefined
      if (!swallowing) return void client.write(data)
      swallowed?.()
    })
    for (const side of pair) {
      side.on('error', () => undefined)
      side.on('close', () => {
        pairs.delete(pair)
        for (const other of pair) other.destroy()
      })
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const cut = (): void => {
    swallowed = undefined
    for (const [client, target] of pairs) {
      client.resetAndDestroy()
      target.destroy()
    }
  }
  t.teardown(() => {
    cut()
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    freeze: () => {
      frozen = true
      for (const pair of pairs) for (const side of pair) side.pause()
    },
    thaw: () => {
      frozen = false
      for (const pair of pairs) for (const side of pair) side.resume()
    },
    swallowReplies: () =>
      new Promise(resolve => {
        swallowed = resolve
      }),
    cut,
  }
}
