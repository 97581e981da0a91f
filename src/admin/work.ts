/** The work of a route behind all that stands before it: a second person, the key of a request that moves money. */
import { heldBecause, holdForApproval, type Approval } from './access.js'
import { fingerprintOf, once } from './idempotency.js'
import type { Route, RouteAnswer, RouteRequest, RouteServices } from './route.js'

/** @param request its idempotency key is checked where the route needs one */
export function workOf(
  route: Route,
  request: RouteRequest,
  place: { readonly url: string; readonly key: string },
  services: RouteServices,
): Promise<RouteAnswer> {
  const work = async (): Promise<RouteAnswer> => {
    const held = await heldBecause(route, request, services)
    return held === undefined ? route.work(request, services) : holdForApproval(route, request, held, services)
  }
  return keyed(route, request, place, services, work)
}

/** Does what a second person agreed to. */
export async function redo(route: Route, approval: Approval, services: RouteServices): Promise<RouteAnswer> {
  const { id, params, query, body, contentType, principal, actor } = approval
  const request: RouteRequest = {
    ...{ params, query, body, contentType, principal, actor },
    headers: { 'idempotency-key': id },
  }
  const work = async (): Promise<RouteAnswer> => route.work(request, services)
  return keyed(route, request, { url: `${route.path} approved`, key: id }, services, work)
}

async function keyed(
  route: Route,
  { principal, body }: RouteRequest,
  { url, key }: { readonly url: string; readonly key: string },
  services: RouteServices,
  work: () => Promise<RouteAnswer>,
): Promise<RouteAnswer> {
  if (!route.idempotent) return work()
  return once(services, { principal: principal.id, key, fingerprint: fingerprintOf(route.method, url, body) }, work)
}
