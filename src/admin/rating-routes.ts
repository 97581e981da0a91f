/** Routes about the tariff: reading it again, checking and comparing it, quoting usage, explaining what was charged (scope N1, N3, S46). */
import type { ExplainQuery } from '../inquiry/explain.js'
import type { AccountWords, UseWords } from '../inquiry/rate-request.js'
import { readIdentity, ruleOf } from './import.js'
import { Problem } from './problem.js'
import {
  accountId,
  existing,
  noAccount,
  object,
  ok,
  text,
  type Route,
  type RouteAnswer,
  type RouteRequest,
  type RouteServices,
  type Schema,
} from './route.js'
import type { CatalogTexts, RatedSubject, ReloadOutcome } from './services.js'
import { defaultPace } from './session-commands.js'

/** Octets of a catalog that is sent: hundreds of thousands of prefixes. */
export const catalogOctets = 32 * 1024 * 1024

const texts: Schema = {
  type: 'array',
  maxItems: 500,
  items: object(['file', 'text'], { file: text('As it shall appear in messages', { minLength: 1, maxLength: 1024 }), text: text('What is in it') }),
} // prettier-ignore
/** Without a body it is the catalog that the daemon's configuration names. */
export const givenTexts = (more: Readonly<Record<string, Schema>> = {}): Schema => ({
  ...object([], {
    files: { ...texts, minItems: 1, description: 'YAML files of a catalog, in the order of their names' },
    others: { ...texts, description: 'CSV files that they name' },
    ...more,
  }),
  type: ['object', 'null'],
})
const jump: Schema = {
  type: 'number',
  minimum: 0,
  maximum: 1_000_000,
  description: 'Percent by which a price may differ from the catalog in use without a warning',
  default: 20,
}

const subscriber = text('An MSISDN, imsi:… or nai:…', { minLength: 1, maxLength: 260 })
const word = (description: string): Schema => text(description, { minLength: 1, maxLength: 128 })
const group: Schema = { type: 'integer', minimum: 0, maximum: 4_294_967_295 }
const attributes: Schema = {
  type: 'object',
  maxProperties: 50,
  additionalProperties: { type: 'string', maxLength: 64 },
}

export const ratingRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/catalog/reload',
    permission: 'catalog.publish',
    guarded: 'publish',
    summary: 'Read the catalog again. A bad one is refused with every fault, and the old one stays.',
    query: object([], {
      reauthorise: text('Ask the gateways of all sessions to report, spread out in time, when the catalog is another', {
        enum: ['true'],
      }),
    }),
    answers: { 200: 'The version in use now' },
    problems: ['catalog-refused'],
    work: reloadCatalog,
  },
  {
    method: 'POST',
    path: '/v1/catalog/check',
    permission: 'catalog.write',
    readsOnly: true,
    summary:
      'Say what a reload would: faults, failing tests, what accounts hold that the catalog lacks; warnings, prices that jump.',
    body: givenTexts({ jump }),
    bodyOctets: catalogOctets,
    answers: { 200: 'The version that it would have, and its warnings' },
    problems: ['catalog-refused', 'too-large'],
    work: checkCatalog,
  },
  {
    method: 'POST',
    path: '/v1/catalog/diff',
    permission: 'catalog.write',
    readsOnly: true,
    summary:
      'Say what a catalog would change against the one in use: by offer and rule, with how many subscriptions have it.',
    body: givenTexts(),
    bodyOctets: catalogOctets,
    answers: { 200: 'The differences, and the same as text' },
    problems: ['catalog-refused', 'too-large'],
    work: diffCatalog,
  },
  {
    method: 'POST',
    path: '/v1/rate',
    permission: 'catalog.read',
    readsOnly: true,
    summary:
      'What usage costs, and why: of an account or subscriber, or of an account that is described. Nothing is written.',
    body: object(['service', 'amount'], {
      account: accountId,
      subscriber,
      offers: { type: 'array', minItems: 1, maxItems: 20, items: word('Name of an offer') },
      currency: word('Currency of the described account, default that of the catalog'),
      balance: word('Money of the described account, default 100.00'),
      creditLimit: word('How far below zero its money may go'),
      attributes,
      subscriberAttributes: attributes,
      service: word('Name of a service of the catalog'),
      amount: word('With its unit: 5MB, 90s, 3 (events), 12.50 (money)'),
      at: word('2026-12-24T18:00 in the time zone of the catalog, or with a zone like Z; now when absent'),
      over: word('Volume is used evenly over so long, like 2h'),
      ratingGroup: group,
      serviceIdentifiers: { type: 'array', maxItems: 20, items: group },
      plmn: word('Serving network: MCC and MNC'),
      called: word('Number of the called party'),
      apn: word('Access point'),
      rat: word('Radio technology: its name or number'),
    }),
    answers: { 200: 'Cost, result, what each balance pays, what is left, and the explanation' },
    problems: ['not-found', 'too-many'],
    work: rateUse,
  },
  {
    method: 'GET',
    path: '/v1/explain',
    permission: 'ledger.read',
    summary: 'Why something was charged, granted or refused: by session and request number, or by subscriber and time.',
    query: object([], {
      session: text('Session-Id', { minLength: 1, maxLength: 512 }),
      number: text('CC-Request-Number', { pattern: '^\\d{1,10}$' }),
      account: accountId,
      subscriber,
      at: word('The entries nearest to this time; the newest when absent'),
      limit: text('1 to 50 entries, default 5', { pattern: '^([1-9]|[1-4]\\d|50)$' }),
    }),
    answers: { 200: 'The entries of the ledger in words, oldest first, and where was looked' },
    problems: ['not-found'],
    work: explain,
  },
]

type GivenBody = Partial<CatalogTexts> & { readonly jump?: number }

export function textsOf({ files, others = [] }: GivenBody): CatalogTexts | undefined {
  if (files) return { files, others }
  if (others.length > 0) throw new Problem('invalid-request', 'others come with files: send the YAML, too')
  return undefined
}

async function checkCatalog({ body }: RouteRequest, { check }: RouteServices): Promise<RouteAnswer> {
  const sent = (body ?? {}) as GivenBody
  return answerOf(await check(textsOf(sent), sent.jump))
}

async function diffCatalog({ body }: RouteRequest, { diff }: RouteServices): Promise<RouteAnswer> {
  const outcome = await diff(textsOf(body ?? {}))
  if (outcome.status === 'refused') throw refused(outcome)
  return ok({ ...outcome.diff, text: outcome.text })
}

async function reloadCatalog({ query, actor }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { reload, sessionCommands } = services
  const outcome = await reload()
  if (outcome.status !== 'loaded' || query['reauthorise'] === undefined) return answerOf(outcome)
  const accounts = await sessionCommands.all('reauthorise', defaultPace)
  sessionCommands.audit({ command: 'reauthorise', accounts, catalog: outcome.version, actor })
  return ok({ ...outcome, reauthorised: accounts })
}

function answerOf(outcome: ReloadOutcome): RouteAnswer {
  if (outcome.status === 'refused') throw refused(outcome)
  return ok(outcome)
}

function refused(outcome: {
  readonly version: string
  readonly faults: readonly string[]
  readonly warnings?: readonly string[]
}): Problem {
  const { version, faults, warnings = [] } = outcome
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`
  const detail = `the new catalog has ${count}; version ${version} stays in use`
  return new Problem('catalog-refused', detail, { version, faults, warnings })
}

type RateBody = UseWords & Partial<AccountWords> & { readonly account?: string; readonly subscriber?: string }

async function rateUse(request: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const body = request.body as RateBody
  const whose = await subjectOf(body, services)
  const outcome = await services.rate(whose, body)
  switch (outcome.status) {
    case 'rated':
      return ok(outcome.rated)
    case 'no_account':
      throw noAccount('account' in whose ? whose.account : '')
    case 'impossible':
      throw new Problem('invalid-request', outcome.why)
  }
}

async function subjectOf(body: RateBody, services: RouteServices): Promise<RatedSubject> {
  const {
    account,
    subscriber: identity,
    offers,
    currency,
    balance,
    creditLimit,
    attributes: ofAccount,
    subscriberAttributes,
  } = body
  const described = { currency, balance, creditLimit, attributes: ofAccount, subscriberAttributes }
  const named = [account, identity, offers].filter(each => each !== undefined).length
  if (named !== 1) throw new Problem('invalid-request', 'name one of account, subscriber and offers')
  if (offers) return { described: { offers, ...described } }
  for (const [key, value] of Object.entries(described))
    if (value !== undefined)
      throw new Problem('invalid-request', `${key} goes with offers: an account that exists has its own`)
  if (identity !== undefined) return ownerOf(identity, services)
  const { subscribers } = await existing(services.accounts, account!)
  const [first, ...more] = subscribers
  if (!first) throw new Problem('invalid-request', `account ${account!} has no subscriber who could use anything`)
  if (more.length > 0)
    throw new Problem(
      'invalid-request',
      `account ${account!} has ${subscribers.length} subscribers: name one by its MSISDN`,
    )
  return { account: account!, subscriber: first.id }
}

/** `491701000001`, `imsi:26201…`, `nai:user@realm`. */
async function ownerOf(written: string, { accounts }: RouteServices): Promise<{ account: string; subscriber: string }> {
  const [, prefix, rest] = /^(msisdn|imsi|nai):(.*)$/.exec(written) ?? []
  const type = (prefix ?? (written.includes('@') ? 'nai' : 'msisdn')) as 'msisdn' | 'imsi' | 'nai'
  const identity = readIdentity(type, rest ?? written)
  if (!identity) throw new Problem('invalid-request', `subscriber: ${type} is not ${ruleOf(type)}`)
  const found = await accounts.find(identity)
  if (!found) throw new Problem('not-found', `there is no subscriber with ${type} ${identity.value}`)
  return { account: found.account.id, subscriber: found.subscriber }
}

async function explain({ query }: RouteRequest, services: RouteServices): Promise<RouteAnswer> {
  const { session, number, subscriber: identity, at: written } = query
  if (number !== undefined && session === undefined)
    throw new Problem('invalid-request', 'number is the request of a session: name the session, too')
  if (session === undefined && identity === undefined && query['account'] === undefined)
    throw new Problem('invalid-request', 'name a session, a subscriber or an account')
  const at = written === undefined ? undefined : services.localTime(written)
  if (written !== undefined && at === undefined)
    throw new Problem(
      'invalid-request',
      `at: \`${written}\` is not a time; write 2026-12-24T18:00, or 2026-12-24T17:00Z`,
    )
  const account = identity === undefined ? query['account'] : (await ownerOf(identity, services)).account
  const asked: ExplainQuery = {
    account,
    session,
    number: number === undefined ? undefined : Number(number),
    at,
    limit: Number(query['limit'] ?? (session === undefined ? 5 : 10)),
  }
  const { explanations, searched } = await services.explain(asked)
  if (explanations.length === 0) {
    const what = [
      ...(session === undefined ? [] : [`session ${session}`]),
      ...(number === undefined ? [] : [`request ${number}`]),
      ...(account === undefined ? [] : [`account ${account}`]),
    ].join(', ')
    const { journal, files, all } = searched
    throw new Problem(
      'not-found',
      `the ledger has no entry of ${what}: looked at ${journal} entries of the journal and ${files} files of this daemon` +
        (all ? '' : ', not the oldest ones') +
        '; older ones may be in files that were moved away, or at another daemon',
    )
  }
  return ok({ explanations, searched })
}
