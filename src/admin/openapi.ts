/** `/openapi.json`: the table of routes.ts in OpenAPI 3.1. */
import { problemNames } from './problem.js'
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
  return {
    openapi: '3.1.0',
    info: {
      title: 'ocsd admin API',
      version,
      description: 'Money is decimal text, units are whole numbers, times are ISO 8601 in UTC.',
    },
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: {
        Problem: {
          type: 'object',
          required: ['type', 'title', 'status', 'detail'],
          properties: {
            type: { type: 'string', enum: problemNames.map(name => `urn:ocsd:problem:${name}`) },
            title: { type: 'string' },
            status: { type: 'integer' },
            detail: { type: 'string' },
          },
        },
      },
    },
  }
}

function operation(route: Route): object {
  const parameters = [...parametersOf(route.params, 'path'), ...parametersOf(route.query, 'query')]
  const refusals = ['unauthorized', 'invalid-request', ...route.problems, 'store-unavailable']
  return {
    summary: route.summary,
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
          { description, content: { [route.answerType ?? 'application/json']: { schema: { type: 'object' } } } },
        ]),
      ),
      default: {
        description: `A problem: ${refusals.join(', ')}`,
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  }
}

function parametersOf(schema: Schema | undefined, place: 'path' | 'query'): object[] {
  const { properties = {}, required = [] } = (schema ?? {}) as Parameters
  return Object.entries(properties).map(([name, each]) => ({
    name,
    in: place,
    required: required.includes(name),
    schema: each,
  }))
}
