/** `/openapi.json`: the table of routes.ts in OpenAPI 3.1. */
import { idempotencySchema } from './idempotency.js'
import { ifMatchSchema } from './etag.js'
import { problemNames, statusOf, type ProblemName } from './problem.js'
import type { Route, Schema } from './route.js'

interface Parameters {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
}

export function openApiOf(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) }
  }
  const tags = [...new Set(routes.map(tagOf))].sort()
  return {
    openapi: '3.1.0',
    info: {
      title: 'ocsd admin API',
      version,
      description:
        'Money is decimal text, units are whole numbers, times are ISO 8601 in UTC. Refusals are problem documents (RFC 9457) ' +
        'whose `type` is stable.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'This daemon' }],
    security: [{ token: [] }],
    tags: tags.map(name => ({ name })),
    paths,
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'The token of the data folder, an API key, or a JSON Web Token of the identity provider',
        },
      },
      schemas: {
        Problem: {
          type: 'object',
          description: 'Why a request was refused; some types have members of their own',
          required: ['type', 'title', 'status', 'detail'],
          properties: {
            type: { type: 'string', enum: problemNames.map(typeOf), description: 'Stable, for programs' },
            title: { type: 'string', description: 'The same for all of this type' },
            status: { type: 'integer', description: 'HTTP status' },
            detail: { type: 'string', description: 'What is wrong with this request, and what to do' },
          },
        },
      },
    },
  }
}

/** `/v1/accounts/:id/opt-ins` → accounts. */
export const tagOf = ({ path }: Pick<Route, 'path'>): string => path.split('/')[2] ?? 'api'

/** `GET /v1/accounts/:id/opt-ins` → getAccountsByIdOptIns. */
export const operationIdOf = ({ method, path }: Pick<Route, 'method' | 'path'>): string =>
  method.toLowerCase() +
  path
    .split('/')
    .slice(2)
    .map(word => (word.startsWith(':') ? `-by-${word.slice(1)}` : `-${word}`))
    .join('')
    .replace(/-+(\w)/g, (_, letter: string) => letter.toUpperCase())

const typeOf = (name: ProblemName): string => `urn:ocsd:problem:${name}`

function operation(route: Route): object {
  const parameters = [
    ...parametersOf(route.params, 'path'),
    ...parametersOf(route.query, 'query'),
    ...(route.idempotent ? [header('Idempotency-Key', true, idempotencySchema)] : []),
    ...(route.ifMatch ? [header('If-Match', false, ifMatchSchema)] : []),
  ]
  return {
    operationId: operationIdOf(route),
    tags: [tagOf(route)],
    summary: route.summary,
    description: `Permission: \`${route.permission}\``,
    ...(route.signed && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(route.body && { requestBody: { required: true, content: { 'application/json': { schema: route.body } } } }),
    ...(route.stream && {
      requestBody: {
        required: true,
        content: Object.fromEntries(route.stream.map(type => [type, { schema: { type: 'string' } }])),
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(route.answers).map(([status, description]) => [
          status,
          {
            description,
            content: { [route.answerType ?? 'application/json']: { schema: answerSchema(route, status) } },
          },
        ]),
      ),
      ...refusals(route),
    },
  }
}

const answerSchema = ({ answerType, schemas }: Route, status: string): Schema =>
  answerType ? { type: 'string' } : (schemas?.[Number(status)] ?? { type: 'object' })

/** Problems by status: what the route says of itself, and what any route may answer. */
function refusals(route: Route): Record<string, object> {
  const everywhere: ProblemName[] = [
    ...(['invalid-request', 'internal', 'store-unavailable'] as const),
    ...(route.signed ? [] : (['unauthorized', 'forbidden'] as const)),
    ...(route.body || route.stream ? (['too-large', 'unsupported-media-type'] as const) : []),
    ...(route.idempotent ? (['idempotency-key-required', 'idempotency-key-reused'] as const) : []),
    ...(route.ifMatch ? (['stale'] as const) : []),
  ]
  const byStatus = new Map<number, ProblemName[]>()
  for (const name of new Set([...everywhere, ...route.problems])) {
    const status = statusOf(name)
    byStatus.set(status, [...(byStatus.get(status) ?? []), name])
  }
  return Object.fromEntries(
    Array.from(byStatus, ([status, names]) => [
      String(status),
      {
        description: `Refused: ${names.join(', ')}`,
        content: {
          'application/problem+json': {
            schema: {
              allOf: [{ $ref: '#/components/schemas/Problem' }, { properties: { type: { enum: names.map(typeOf) } } }],
            },
          },
        },
      },
    ]),
  )
}

function parametersOf(schema: Schema | undefined, place: 'path' | 'query'): object[] {
  const { properties = {}, required = [] } = (schema ?? {}) as Parameters
  return Object.entries(properties).map(([name, each]) => ({
    name,
    in: place,
    required: required.includes(name),
    description: each['description'] ?? `One of ${[each['enum']].flat().join(', ')}`,
    schema: each,
  }))
}

const header = (name: string, required: boolean, schema: Schema): object => ({
  ...{ name, in: 'header', required, description: schema['description'], schema },
})
