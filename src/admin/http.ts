/**
 * The port for machines that watch: `/metrics`, `/healthz` (the event loop turns; asks nobody else, or an outage of the
 * store would restart every daemon) and `/readyz` (would answer a CCR now). No token, so nothing of a subscriber is here.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ListenAddress } from '../config/config.js'
import type { Readiness } from './readiness.js'

export interface HttpService {
  /** The port that it got. */
  readonly port: number
  /**
   * Takes no more connections and waits for the requests in work, an import for example, but not for ever.
   *
   * @param graceMs default 5 s; connections that are still busy then are cut
   */
  close(graceMs?: number): Promise<void>
}

/** What a scrape gets; telemetry/ has it. */
export interface Scrape {
  readonly contentType: string
  scrape(): Promise<string>
}

export const httpLimits = {
  headerOctets: 8 * 1024,
  headersTimeoutMs: 10_000,
  /** For the whole request, its body included. */
  requestTimeoutMs: 30_000,
  /** Without any octet in either direction. */
  idleTimeoutMs: 60_000,
  connections: 256,
} as const

/** @throws Error that names address and key when it cannot listen */
export async function startHealth(options: {
  readonly listen: ListenAddress
  readonly readiness: Readiness
  readonly metrics: Scrape
}): Promise<HttpService> {
  const server = createServer(
    {
      maxHeaderSize: httpLimits.headerOctets,
      headersTimeout: httpLimits.headersTimeoutMs,
      requestTimeout: httpLimits.requestTimeoutMs,
    },
    (request, response) => {
      answer(request, response, options).catch(() => response.destroy())
    },
  )
  server.maxConnections = httpLimits.connections
  await listenOn(server, options.listen, 'metrics')
  return {
    port: (server.address() as AddressInfo).port,
    close: async graceMs => {
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      server.closeIdleConnections()
      await withinGrace(server, closed, graceMs)
    },
  }
}

/** Waits for the end of a server that takes no more connections; after the grace its connections are cut. */
export async function withinGrace(server: Server, closed: Promise<void>, graceMs = 5_000): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), graceMs)
  await closed
  clearTimeout(timer)
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { readiness, metrics }: { readonly readiness: Readiness; readonly metrics: Scrape },
): Promise<void> {
  response.setHeader('cache-control', 'no-store')
  response.setHeader('x-content-type-options', 'nosniff')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    json(response, 405, { error: 'only GET here' })
    return
  }
  switch ((request.url ?? '/').split('?', 1)[0]) {
    case '/metrics':
      response.setHeader('content-type', metrics.contentType)
      response.end(await metrics.scrape())
      return
    case '/healthz':
      json(response, 200, { healthy: true })
      return
    case '/readyz': {
      const reasons = readiness.reasons()
      json(response, reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons })
      return
    }
    default:
      json(response, 404, { error: 'here are /metrics, /healthz and /readyz' })
  }
}

function json(response: ServerResponse, status: number, body: object): void {
  response.statusCode = status
  response.setHeader('content-type', 'application/json')
  response.end(`${JSON.stringify(body)}\n`)
}

function listenOn(server: Server, { host, port }: ListenAddress, key: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', error => reject(cannotListen(error, { host, port }, key)))
    server.listen({ host, port }, resolve)
  })
}

/** @param key of the configuration that names the address */
export function cannotListen(error: unknown, { host, port }: ListenAddress, key: string): Error {
  const code = (error as NodeJS.ErrnoException).code
  const why =
    code === 'EADDRINUSE'
      ? 'the port is taken: stop the other program, or give another port'
      : code === 'EACCES'
        ? 'not allowed: ports below 1024 need a privilege'
        : code === 'EADDRNOTAVAIL'
          ? 'this machine has no such address'
          : (error as Error).message
  return new Error(`cannot listen on ${host}:${port} (key ${key} of the configuration): ${why}`, { cause: error })
}
