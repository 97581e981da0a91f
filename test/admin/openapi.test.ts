/** The OpenAPI document is valid 3.1, and says of every route all that a client needs. */
import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { openApiOf, operationIdOf } from '../../src/admin/openapi.js'
import { problemNames, statusOf } from '../../src/admin/problem.js'
import { routes } from '../../src/admin/routes.js'

interface Parameter {
  readonly name: string
  readonly in: string
  readonly required: boolean
  readonly description?: string
}

interface Operation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly summary: string
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: object
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: object }>>
}

interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly tags: readonly { readonly name: string }[]
}

const document = JSON.parse(JSON.stringify(openApiOf(routes, '1.2.3'))) as Document
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

t.test('it is valid OpenAPI 3.1', async t => {
  const result = await new Validator().validate(JSON.parse(JSON.stringify(document)) as Record<string, unknown>)
  t.same(result.errors ?? [], [])
  t.equal(result.valid, true)
  t.equal(document.openapi, '3.1.0')
  const without = JSON.parse(JSON.stringify({ ...document, info: undefined })) as Record<string, unknown>
  t.equal((await new Validator().validate(without)).valid, false, 'and what is not is found')
})

t.test('every route is in it once, under a name of its own', t => {
  t.equal(operations.length, routes.length)
  t.same(
    operations.map(({ path, method }) => `${method} ${path}`).sort(),
    routes.map(({ path, method }) => `${method.toLowerCase()} ${path.replace(/:(\w+)/g, '{$1}')}`).sort(),
  )
  const ids = operations.map(({ operation }) => operation.operationId)
  t.equal(new Set(ids).size, ids.length, 'operationId')
  for (const id of ids) t.match(id, /^[a-z][A-Za-z0-9]+$/)
  t.equal(operationIdOf({ method: 'GET', path: '/v1/accounts/:id/opt-ins' }), 'getAccountsByIdOptIns')
  t.end()
})

t.test('parameters: each of the path is there, all are described, headers where they are needed', t => {
  for (const route of routes) {
    const { parameters = [] } = operations.find(
      ({ operation }) => operation.operationId === operationIdOf(route),
    )!.operation
    const named = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => name)
    const inPath = parameters.filter(each => each.in === 'path')
    t.same(inPath.map(({ name }) => name).sort(), named.sort(), `${route.method} ${route.path}`)
    t.ok(inPath.every(({ required }) => required))
    for (const { name, description } of parameters)
      t.ok(
        typeof description === 'string' && description.length > 2,
        `${route.method} ${route.path}: ${name} is described`,
      )
    const headers = parameters.filter(each => each.in === 'header').map(({ name }) => name)
    t.same(headers, [...(route.idempotent ? ['Idempotency-Key'] : []), ...(route.ifMatch ? ['If-Match'] : [])])
  }
  t.end()
})

t.test('answers and refusals: by status, with a body, and every problem of the route', t => {
  const tags = new Set(document.tags.map(({ name }) => name))
  for (const route of routes) {
    const { operation } = operations.find(each => each.operation.operationId === operationIdOf(route))!
    t.ok(operation.summary.length > 10 && operation.tags.every(tag => tags.has(tag)))
    for (const status of Object.keys(route.answers)) t.ok(operation.responses[status], `${route.path}: ${status}`)
    for (const name of route.problems) {
      t.match(operation.responses[String(statusOf(name))]?.description, name, `${route.path}: ${name}`)
    }
    t.ok((operation.responses['401'] ?? route.signed) && operation.responses['503'])
    t.equal(operation.requestBody !== undefined, route.body !== undefined || route.stream !== undefined)
  }
  t.equal(new Set(problemNames).size, problemNames.length)
  t.end()
})
