/** Routes to publish a catalog, to see what was published, and to go back (scope N11, S36). */
import type { Publication, PublishedTexts } from '../balance/publications.js'
import type { CatalogPublishing, PublishOutcome } from '../publishing/catalog-publishing.js'
import { etagOf, matches, stale, stateOfCatalog } from './etag.js'
import { Problem } from './problem.js'
import { catalogOctets, givenTexts, textsOf } from './rating-routes.js'
import { object, ok, text, type Route, type RouteAnswer, type RouteRequest, type RouteServices } from './route.js'
import { iso } from './views.js'
import { reason } from './fields.js'

export interface CatalogServices {
  readonly publishing: Pick<CatalogPublishing, 'publish' | 'rollback' | 'versions' | 'version'>
}

export interface PublicationView {
  readonly number: number
  readonly version: string
  readonly at: string
  readonly actor: string
  readonly reason: string
  readonly how: string
  readonly files: readonly string[]
}

const actor = text('Who asked for it', { pattern: '^[\\w.@:-]{1,64}$' })
const over = text('Refused (412) when another version than this one is in use', { pattern: '^[0-9a-f]{4,64}$' })
const version = text('Version of a catalog, as the list shows it', { pattern: '^[0-9a-f]{4,64}$' })

export const catalogRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/catalog/versions',
    permission: 'catalog.read',
    summary:
      'What was published, the newest first: it is in use at all daemons of the store. Empty: each uses its own folder.',
    answers: { 200: 'Publications, and the version that this daemon uses' },
    problems: [],
    work: listVersions,
  },
  {
    method: 'GET',
    path: '/v1/catalog/versions/:version',
    permission: 'catalog.read',
    summary: 'The texts of a published catalog.',
    params: object(['version'], { version }),
    answers: { 200: 'Who published it last, when and why, and its files' },
    problems: ['not-found'],
    work: showVersion,
  },
  {
    method: 'POST',
    path: '/v1/catalog/publish',
    permission: 'catalog.publish',
    summary:
      'Use another catalog at all daemons of the store: the files sent, or those of the daemon’s folder. It is checked and its tests are ' +
      'run; one with faults is refused. With If-Match (ETag of GET /v1/catalog) only over the version that was read.',
    body: { ...givenTexts({ reason, over, actor }), required: ['reason'], type: 'object' },
    guarded: 'publish',
    ifMatch: true,
    bodyOctets: catalogOctets,
    answers: { 200: 'The version in use now, and what the old one and the new one differ in' },
    problems: ['catalog-refused', 'stale', 'too-large'],
    work: publish,
  },
  {
    method: 'POST',
    path: '/v1/catalog/rollback',
    permission: 'catalog.publish',
    summary:
      'Use a version that was published before again, at once. What accounts hold that it lacks comes as warnings.',
    body: object(['version', 'reason'], { version, reason, over, actor }),
    ifMatch: true,
    answers: { 200: 'The version in use now' },
    problems: ['not-found', 'catalog-refused', 'stale'],
    work: rollback,
  },
]

const viewOf = ({ number, version, at, actor, reason, how, files }: Publication): PublicationView => ({
  ...{ number, version, at: iso(at), actor, reason, how, files },
})

async function listVersions(_: RouteRequest, { publishing, catalog }: RouteServices): Promise<RouteAnswer> {
  const items = (await publishing.versions()).map(viewOf)
  return ok({ items, inUse: catalog().version })
}

async function showVersion({ params }: RouteRequest, { publishing }: RouteServices): Promise<RouteAnswer> {
  const found = await publishing.version(params['version']!)
  if (!found) throw unknown(params['version']!)
  const { files, others } = found.texts
  return ok({ ...viewOf(found.publication), files, others })
}

type PublishBody = Partial<PublishedTexts> & { readonly reason: string; readonly over?: string }

async function publish(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { body, actor } = request
  const sent = body as PublishBody
  const texts = textsOf(sent)
  const onlyOver = versionRead(request, services)
  const compared = await services.diff(texts)
  const outcome = await services.publishing.publish({ texts, actor, reason: sent.reason, onlyOver })
  return answerOf(outcome, compared.status === 'compared' ? compared.text : [])
}

async function rollback(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { version, reason } = request.body as { readonly version: string; readonly reason: string }
  const { actor } = request
  const outcome = await services.publishing.rollback({
    version,
    actor,
    reason,
    onlyOver: versionRead(request, services),
  })
  if (outcome.status === 'unknown_version') throw unknown(version)
  return answerOf(outcome)
}

/** The version that `over` or If-Match names: it must still be the one in use when the other is. */
function versionRead({ headers, body }: RouteRequest, { catalog }: RouteServices): string | undefined {
  const { version } = catalog()
  const { over } = body as { readonly over?: string }
  if (over !== undefined && over !== version) throw notOver(version)
  if (!matches(headers, stateOfCatalog(version))) throw stale(headers['if-match']!)
  return over ?? (headers['if-match'] === undefined || headers['if-match'].trim() === '*' ? undefined : version)
}

const notOver = (version: string): Problem =>
  new Problem('stale', `catalog ${version} is in use: look what it changed, and publish over it`, { version })

function answerOf(outcome: PublishOutcome, differences?: readonly string[]): RouteAnswer {
  switch (outcome.status) {
    case 'published':
    case 'unchanged': {
      const { status, version, warnings, publication } = outcome
      const body = { status, version, warnings, publication: publication ? viewOf(publication) : null }
      return { status: 200, headers: etagOf(stateOfCatalog(version)), body: { ...body, ...(differences && { differences }) } }
    }
    case 'stale':
      throw notOver(outcome.version)
    case 'unknown_version':
      throw unknown(outcome.version)
    case 'refused': {
      const { version, faults, warnings } = outcome
      const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`
      throw new Problem('catalog-refused', `the catalog has ${count}; version ${version} stays in use`, { version, faults, warnings })
    }
  }
} // prettier-ignore

const unknown = (version: string): Problem =>
  new Problem('not-found', `version ${version} was not published, or is no longer kept; see GET /v1/catalog/versions`)
