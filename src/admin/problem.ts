/** Refusals of the admin API as RFC 9457 prints them: `type` is stable and for programs, `detail` is for people. */

export interface ProblemDocument {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly [extension: string]: unknown
}

const problems = {
  'invalid-request': [400, 'The request is not valid'],
  'idempotency-key-required': [400, 'Money moves here: an Idempotency-Key is needed'],
  unauthorized: [401, 'A valid bearer token is needed'],
  'signature-wrong': [401, 'The signature is wrong'],
  forbidden: [403, 'This is not allowed to whoever asks'],
  'above-ceiling': [403, 'The amount is above the ceiling of whoever asks'],
  'second-person-needed': [403, 'It takes somebody who had no part in it before'],
  'not-found': [404, 'There is no such thing'],
  'voucher-unknown': [404, 'There is no such voucher'],
  'identity-taken': [409, 'An identity belongs to another account'],
  'currency-differs': [409, 'The account has another currency'],
  'reference-taken': [409, 'The reference was used for something else'],
  'idempotency-key-reused': [409, 'The Idempotency-Key belongs to another request'],
  'account-terminated': [409, 'The account is terminated'],
  'account-in-use': [409, 'The account is in use, or owes something'],
  'no-life-cycle': [409, 'The account has no life cycle'],
  'account-not-in-service': [409, 'The account is not in service'],
  'voucher-used': [409, 'The voucher is another account’s'],
  'voucher-blocked': [409, 'The voucher is blocked'],
  'voucher-expired': [409, 'The voucher has expired'],
  'voucher-not-active': [409, 'The voucher is not active yet'],
  'already-exported': [409, 'The codes were exported before'],
  'export-running': [409, 'The codes are being exported'],
  'not-exported': [409, 'The codes were not exported yet'],
  'override-overlaps': [409, 'Another override applies to the same thing'],
  'clock-is-real': [409, 'Business time is the machine’s'],
  'clock-backwards': [409, 'Business time never goes back'],
  'approval-decided': [409, 'The approval is decided or has expired'],
  'cursor-expired': [410, 'Events after the cursor are no longer kept'],
  'not-due': [409, 'Nothing is to be renewed yet'],
  'not-recurring': [409, 'The subscription has no renewal to change'],
  'session-ended': [409, 'The session has ended'],
  stale: [412, 'It was changed since it was read'],
  'too-large': [413, 'The request is too large'],
  'unsupported-media-type': [415, 'The body has the wrong Content-Type'],
  'voucher-malformed': [422, 'The code is mistyped'],
  'balance-too-large': [422, 'The balance would become too large'],
  'insufficient-funds': [422, 'There is not so much free'],
  'recharge-refused': [422, 'The catalog has no such recharge'],
  'transfer-refused': [422, 'The catalog does not allow this transfer'],
  'limit-reached': [422, 'It would be more than a day allows'],
  'nothing-owed': [422, 'The account does not owe so much'],
  'no-provider': [422, 'No payment provider takes it'],
  'not-refundable': [422, 'It cannot be given back'],
  'unknown-offer': [422, 'The catalog has no such offer'],
  'unknown-target': [422, 'The catalog has no such thing'],
  'offer-refused': [422, 'The offer is not sold to this account now'],
  'too-many': [422, 'The account has too many of them'],
  'catalog-refused': [422, 'The catalog has faults; the old one stays in use'],
  'too-many-failures': [429, 'Too many failed tries'],
  'too-many-requests': [429, 'Too many requests'],
  'voucher-locked': [429, 'Too many wrong voucher codes'],
  'too-many-traces': [429, 'As many traces run as may'],
  'not-recorded': [500, 'The audit record cannot be written'],
  internal: [500, 'ocsd made a mistake'],
  'voucher-key-missing': [503, 'This daemon has not the key of these vouchers'],
  'voucher-pending': [503, 'The rest of the voucher comes later'],
  'store-unavailable': [503, 'The store does not answer'],
} as const satisfies Record<string, readonly [status: number, title: string]>

export type ProblemName = keyof typeof problems
export const statusOf = (name: ProblemName): number => problems[name][0]
export const problemNames = Object.keys(problems) as ProblemName[]

/** Thrown by a route's work; the one error handler of api.ts writes it. */
export class Problem extends Error {
  constructor(
    readonly problem: ProblemName,
    detail: string,
    readonly extensions: Readonly<Record<string, unknown>> = {},
  ) {
    super(detail)
  }

  document(): ProblemDocument {
    const [status, title] = problems[this.problem]
    return { type: `urn:ocsd:problem:${this.problem}`, title, status, detail: this.message, ...this.extensions }
  }
}
