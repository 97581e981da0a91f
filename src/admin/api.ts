/**
 * The admin API over HTTP: the routes of routes.ts behind their permissions, with limits on everything that comes in.
 * Refusals are problem documents (problem.ts); nothing of ours, no stack and no path, leaves in one.
 */
import type { AddressInfo } from 'node:net'
import { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import type { Logger } from 'pino'
import type { Principal } from '../access/roles.js'
import { BalanceUnavailableError } from '../balance/store.js'
import type { Clock } from '../clock.js'
import type { ListenAddress } from '../config/config.js'
import { cannotListen, httpLimits, type HttpService, withinGrace } from './http.js'
import { readIdempotencyKey } from './idempotency.js'
import { openApiOf } from './openapi.js'
import { Problem } from './problem.js'
import type { Route, RouteRequest, RouteServices } from './route.js'
import { catalogOctets } from './rating-routes.js'
import { routes } from './routes.js'
import type { AdminServices } from './services.js'
import { workOf } from './work.js'
import { mustBeAllowed, recorded } from './access.js'

/** Octets of a JSON body; an import streams and has its own limit. */
const bodyOctets = 1024 * 1024

/** @throws Error that names address and key when it cannot listen */
export async function startAdminApi(options: {
  readonly listen: ListenAddress
  /** Of ocsd. */
  readonly version: string
  readonly services: AdminServices
  readonly log: Logger
  readonly clock: Clock
}): Promise<HttpService> {
  const { listen, version, services, log, clock } = options
  const app = fastify({
    logger: false,
    bodyLimit: bodyOctets,
    connectionTimeout: httpLimits.idleTimeoutMs,
    // An import of a million rows is one request: bodies have their own timer below.
    requestTimeout: 0,
    keepAliveTimeout: 5_000,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 300 },
    http: { maxHeaderSize: httpLimits.headerOctets, headersTimeout: httpLimits.headersTimeoutMs },
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        allErrors: false,
        verbose: true,
      },
    },
  })
  app.server.maxConnections = httpLimits.connections
  guard(app, services)
  readJson(app)
  app.setErrorHandler((error: FastifyError, _request, reply) => refuse(reply, problemOf(error, log)))
  app.setNotFoundHandler((request, reply) =>
    refuse(
      reply,
      new Problem('not-found', `there is no ${request.method} ${request.url.split('?', 1)[0]!}; see /openapi.json`),
    ),
  )
  const document = openApiOf(routes, version)
  app.get('/openapi.json', () => document)
  const streams = [...new Set(routes.flatMap(route => route.stream ?? []))]
  app.removeContentTypeParser('text/plain') // fastify would take it
  app.addContentTypeParser(streams, (_request, payload, done) => done(null, payload))
  const routeServices: RouteServices = { ...services, clock, isUnavailable }
  for (const route of routes) addRoute(app, route, routeServices)
  try {
    await app.listen({ host: listen.host, port: listen.port })
  } catch (error) {
    throw cannotListen(error, listen, 'admin')
  }
  return {
    port: (app.server.address() as AddressInfo).port,
    close: graceMs => withinGrace(app.server, app.close(), graceMs),
  }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Absent: the document, or nothing of ours. */
    ours?: Route
  }
  interface FastifyRequest {
    /** Who asks; undefined: nobody needs to be known for it. */
    principal: Principal | undefined
    /** JSON as it came. */
    rawBody: string | undefined
  }
}

/** Before anything else of a request is looked at: who asks, how often, and whether he may. */
function guard(app: FastifyInstance, { access }: AdminServices): void {
  app.decorateRequest('principal', undefined)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    })
    // A body that drips in holds its connection no longer than this; an import is served as long as octets come.
    if (!isStream(request)) {
      const timer = setTimeout(() => request.raw.destroy(), httpLimits.requestTimeoutMs)
      request.raw.once('end', () => clearTimeout(timer))
      reply.raw.once('close', () => clearTimeout(timer))
    }
    if (request.url === '/openapi.json') return
    const route = request.routeOptions.config.ours
    if (route?.signed) {
      request.principal = { id: `signed:${request.ip}`, kind: 'key', roles: [] }
      limited(access, request.principal, reply)
      return
    }
    const outcome = await access.authenticate(request.headers.authorization, request.ip)
    switch (outcome.status) {
      case 'refused':
        reply.header('www-authenticate', 'Bearer')
        throw new Problem('unauthorized', outcome.why)
      case 'locked':
        reply.header('retry-after', String(outcome.seconds))
        throw new Problem('too-many-failures', `too many failed tries from this address: wait ${outcome.seconds} s`)
      case 'unavailable':
        throw new Problem('store-unavailable', outcome.why)
      case 'known':
        request.principal = outcome.principal
    }
    limited(access, outcome.principal, reply)
    if (route) mustBeAllowed(outcome.principal, route, access.policy)
  })
}

function limited(access: AdminServices['access'], principal: Principal, reply: FastifyReply): void {
  const wait = access.limit(principal)
  if (wait === 0) return
  reply.header('retry-after', String(wait))
  throw new Problem('too-many-requests', `${principal.id} asks too often: wait ${wait} s`)
}

/** As fastify reads it, and as it came. */
function readJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.decorateRequest('rawBody', undefined)
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text: string, done) => {
    request.rawBody = text
    void parse(request, text, done)
  })
}

const isStream = (request: FastifyRequest): boolean => request.routeOptions.config.ours?.stream !== undefined

function addRoute(app: FastifyInstance, route: Route, services: RouteServices): void {
  app.route({
    method: route.method,
    url: route.path,
    config: { ours: route },
    ...(route.bodyOctets !== undefined && { bodyLimit: route.bodyOctets }),
    schema: {
      ...(route.params && { params: route.params }),
      ...(route.query && { querystring: route.query }),
      ...(route.body && { body: route.body }),
    },
    ...(route.idempotent && {
      preValidation: (request, _reply, done) => {
        readIdempotencyKey(request.headers)
        done()
      },
    }),
    handler: async (request, reply) => {
      const contentType = (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase()
      if (route.stream && !route.stream.includes(contentType)) {
        throw new Problem('unsupported-media-type', `send ${route.stream.join(' or ')}`)
      }
      const principal = request.principal!
      const asked: RouteRequest = {
        params: request.params as RouteRequest['params'],
        query: request.query as RouteRequest['query'],
        body: request.body,
        contentType,
        rawBody: request.rawBody,
        headers: request.headers as RouteRequest['headers'],
        principal,
        actor: actorOf(principal, request),
      }
      const place = { url: request.url, key: route.idempotent ? readIdempotencyKey(request.headers) : '' }
      const answer = await recorded(route, asked, request.ip, services, () => workOf(route, asked, place, services))
      if (answer.headers) reply.headers(answer.headers)
      if (route.answerType && !reply.hasHeader('content-type')) reply.type(route.answerType)
      return reply.status(answer.status).send(answer.body)
    },
  })
}

function actorOf(principal: Principal, { body, query }: FastifyRequest): string {
  const named =
    (body as { readonly actor?: string } | undefined)?.actor ??
    (query as { readonly actor?: string } | undefined)?.actor
  return principal.kind === 'token' && named !== undefined ? named : principal.id
}

const isUnavailable = (error: unknown): boolean => error instanceof BalanceUnavailableError

function problemOf(error: Error & Partial<FastifyError>, log: Logger): Problem {
  if (error instanceof Problem) return error
  if (isUnavailable(error)) {
    return new Problem('store-unavailable', 'the store does not answer; try again, the same request is applied once')
  }
  // The client went away in the middle of its body: nobody reads the answer, and it is no defect.
  if (error.code === 'ECONNRESET' || error.code === 'ERR_STREAM_PREMATURE_CLOSE') {
    return new Problem('invalid-request', 'the request ended before its body did')
  }
  if (error.validation) {
    const [first] = error.validation
    const where = `${error.validationContext ?? 'body'}${(first?.instancePath ?? '').replaceAll('/', '.')}`
    const extra = first?.params['additionalProperty']
    const which = typeof extra === 'string' ? `: ${JSON.stringify(extra)}` : ''
    // Ajv's `verbose` adds the schema that was broken and the value that broke it.
    const { parentSchema, data } = (first ?? {}) as {
      parentSchema?: { description?: string; enum?: readonly string[] }
      data?: unknown
    }
    const wanted =
      first?.keyword === 'enum'
        ? `one of ${parentSchema?.enum?.join(', ')}`
        : first?.keyword === 'pattern'
          ? parentSchema?.description?.replace(/^[A-Z](?=[a-z])/, letter => letter.toLowerCase())
          : undefined
    if (wanted !== undefined) {
      const sent = JSON.stringify(data).slice(0, 80)
      return new Problem('invalid-request', `${where}: ${sent} is not accepted; write ${wanted}`)
    }
    return new Problem('invalid-request', `${where} ${first?.message ?? 'is not valid'}${which}`)
  }
  switch (error.statusCode) {
    case 413:
      return new Problem('too-large', `a body has at most ${bodyOctets} octets, a catalog ${catalogOctets}`)
    case 415:
      return new Problem('unsupported-media-type', 'send application/json')
    case 400:
      return new Problem('invalid-request', 'the body is no JSON')
    default:
      log.error({ event: 'admin.error', err: error }, 'a request of the admin API met a defect')
      return new Problem('internal', 'the log has the details')
  }
}

function refuse(reply: FastifyReply, problem: Problem): FastifyReply {
  const document = problem.document()
  const { status, retryAfter } = document
  if (typeof retryAfter === 'number') reply.header('retry-after', String(retryAfter))
  else if (status === 503) reply.header('retry-after', '1')
  return reply.status(document.status).type('application/problem+json').send(document)
}
