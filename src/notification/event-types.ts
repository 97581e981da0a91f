/**
 * What other systems are told: every type of event with its data, in one table. The JSON Schema of the events and
 * `ocsctl notifications types` are made of it (design: accounts, thresholds and webhooks).
 *
 * A name never changes its meaning; new names and new members may come. No event names a person: accounts by their id, subscribers by
 * their number in the account.
 */

/**
 * What a member is, and so how it is written: `money` is decimal text of the account's currency, `time` ISO 8601 in UTC, `units` a whole
 * number of octets, seconds or events (decimal text where the unit is money), `dates` times by name.
 */
export type FieldKind = 'text' | 'texts' | 'time' | 'money' | 'units' | 'count' | 'flag' | 'dates'

export interface Field {
  readonly kind: FieldKind
  readonly text: string
  /** Every event of the type has it. */
  readonly always?: true
  /** Its name in the ledger's entry, where that is another one. */
  readonly of?: string
}

export interface EventTypeRow {
  readonly text: string
  /** One for nearly every report of a gateway: only where `notifications.usage` says so, and to webhooks that name them. */
  readonly usage?: true
  readonly data: Readonly<Record<string, Field>>
}

const subscriber: Field = { kind: 'text', text: 'number of the subscriber in the account; 0: all of it' }
const offer: Field = { kind: 'text', text: 'name of the offer', always: true }
const subscription: Field = { kind: 'text', text: 'number of the subscription in the account', always: true }
const reference: Field = { kind: 'text', text: 'what the caller gave, so that twice is once' }
const channel: Field = { kind: 'text', text: 'where it came from, like portal or outlet', always: true }
const reason: Field = { kind: 'text', text: 'why, as whoever did it wrote' }
const fee: Field = { kind: 'money', text: 'taken as a fee' }
const amount: Field = {
  kind: 'money',
  text: 'to the account, or from it when it is below zero; fees apart',
  always: true,
}
const service: Field = { kind: 'text', text: 'name of the service in the catalog' }
const bucket: Field = { kind: 'text', text: 'id of the bucket in the account', always: true }
const name: Field = { kind: 'text', text: 'name of the bucket in the catalog, where the entry knows it' }
const dates: Field = { kind: 'dates', text: 'dates of the life cycle that moved' }
const lines: Field = { kind: 'texts', text: 'what was refused: rating groups and services as the gateway named them' }

export const eventTypes = {
  'account.created': { text: 'An account is there.', data: { subscriber, reference, amount } },
  'account.status': {
    text: 'An account changed its status.',
    data: {
      from: { kind: 'text', text: 'status before', always: true },
      to: { kind: 'text', text: 'status now', always: true },
      rule: { kind: 'text', text: 'name of the life-cycle rule that did it' },
      reason,
      dates,
    },
  },
  'account.dates': { text: 'The validity of an account moved.', data: { dates, reason } },
  'account.changed': {
    text: 'Attributes, overrides, limits or opt-ins of an account changed; ask for the account to see them.',
    data: {
      what: { kind: 'text', text: 'attributes, override, limit or opt-in', always: true, of: 'kind' },
      subscriber,
    },
  },
  'subscriber.added': { text: 'A subscriber joined an account.', data: { subscriber, reference } },
  'subscriber.identities': {
    text: 'A subscriber got other identities (SIM swap, number change); which, only the account tells.',
    data: { subscriber, types: { kind: 'texts', text: 'which kinds: msisdn, imsi, nai' }, reason },
  },
  'subscriber.blocked': {
    text: 'A subscriber was blocked, or may be served again.',
    data: { subscriber, blocked: { kind: 'flag', text: 'true: refused from now on', always: true }, reason },
  },
  'recharge.completed': {
    text: 'Money in.',
    data: {
      amount,
      channel,
      reference,
      method: { kind: 'text', text: 'means of payment' },
      outlet: { kind: 'text', text: 'where it was sold' },
      dates,
    },
  },
  'recharge.bonus': {
    text: 'What a recharge brought besides its money; the balances are those of recharge.completed.',
    data: { rule: { kind: 'text', text: 'name of the bonus rule', always: true, of: 'bonus' }, channel, reference },
  },
  'recharge.refunded': {
    text: 'A recharge was given back to whoever paid it.',
    data: {
      amount,
      channel,
      method: { kind: 'text', text: 'means of payment' },
      outlet: { kind: 'text', text: 'where it was sold' },
      reason,
    },
  },
  'voucher.locked': {
    text: 'Too many wrong voucher codes: the account redeems none for a while.',
    data: {
      tries: { kind: 'count', text: 'how many' },
      until: { kind: 'time', text: 'until when' },
      channel,
    },
  },
  'adjustment.completed': {
    text: 'Money or units given or taken by hand.',
    data: { amount, reference, reason, code: { kind: 'text', text: 'code of the reason' } },
  },
  'transfer.sent': {
    text: 'Money or units to another account.',
    data: {
      amount,
      fee,
      transfer: { kind: 'text', text: 'id of the transfer, the same on both sides', always: true },
      with: { kind: 'text', text: 'the other account', always: true },
      reason,
    },
  },
  'transfer.received': {
    text: 'Money or units from another account.',
    data: {
      amount,
      fee,
      transfer: { kind: 'text', text: 'id of the transfer, the same on both sides', always: true },
      with: { kind: 'text', text: 'the other account', always: true },
      reason,
    },
  },
  'subscription.purchased': {
    text: 'An offer was bought.',
    data: { offer, subscription, subscriber, reference, fee },
  },
  'subscription.renewed': {
    text: 'A subscription was renewed.',
    data: {
      offer,
      subscription,
      fee,
      from: { kind: 'time', text: 'begin of the new period' },
      until: { kind: 'time', text: 'its end' },
      try: { kind: 'count', text: 'which attempt it was' },
    },
  },
  'subscription.renewal-failed': {
    text: 'A renewal found too little money; nothing was changed.',
    data: {
      offer,
      subscription,
      needs: { kind: 'money', text: 'what it costs' },
      free: { kind: 'money', text: 'what there was' },
      try: { kind: 'count', text: 'which attempt it was' },
      until: { kind: 'time', text: 'end of its grace' },
    },
  },
  'subscription.changed': {
    text: 'A subscription became one of another offer.',
    data: { offer, subscription, to: { kind: 'text', text: 'name of the new offer', always: true }, reference, fee },
  },
  'subscription.cancelled': {
    text: 'A subscription was ended, or will not be renewed.',
    data: {
      offer,
      subscription,
      when: { kind: 'text', text: 'now, or end: of its period' },
      reference,
    },
  },
  'bucket.expired': {
    text: 'The free part of a bucket expired, or rolled over into another one.',
    data: {
      bucket,
      name,
      expired: { kind: 'units', text: 'what is gone' },
      into: { kind: 'text', text: 'id of the bucket that the rest rolled over into' },
    },
  },
  'bucket.threshold': {
    text: 'A bucket fell to a level of its grant (`warn` in the catalog). Once until it is above it again.',
    data: { bucket, name, level: { kind: 'units', text: 'the level, as what is left', always: true } },
  },
  'bucket.depleted': { text: 'A bucket was used up.', data: { bucket, name } },
  'counter.threshold': {
    text: 'A counter reached a share of its limit (`steps` in the catalog). Once a period.',
    data: {
      counter: { kind: 'text', text: 'name of the counter in the catalog', always: true },
      subscriber,
      percent: { kind: 'count', text: 'the share, in percent', always: true },
    },
  },
  'balance.threshold': {
    text: 'Money fell to a level (`thresholds` and `lowBalance` in the catalog). Once until it is above it again.',
    data: {
      level: { kind: 'money', text: 'the level', always: true },
      percent: { kind: 'count', text: 'where it is a share of the last recharge: in percent' },
    },
  },
  'balance.depleted': { text: 'Money fell to zero or below.', data: {} },
  'balance.expires-soon': {
    text: 'An account, a bucket or a subscription ends soon, or is renewed soon.',
    data: {
      what: { kind: 'text', text: 'what it is about, by its name or id', always: true },
      at: { kind: 'time', text: 'when' },
    },
  },
  'balance.changed': {
    text: 'Balances changed for a reason that has no type of its own.',
    data: { kind: { kind: 'text', text: 'kind of the entry in the ledger', always: true }, amount, reason },
  },
  'session.refused': {
    text: 'A gateway was refused units for want of funds. Once until something comes in.',
    data: { service, subscriber, lines },
  },
  'usage.charged': {
    text: 'Usage was charged: one for each report that moved a balance.',
    usage: true,
    data: { service, subscriber, amount },
  },
  'usage.refunded': {
    text: 'An event was given back.',
    usage: true,
    data: { service, subscriber, amount },
  },
  'session.ended': {
    text: 'A session ended.',
    usage: true,
    data: {
      service,
      subscriber,
      how: { kind: 'text', text: 'closed by the gateway, silent, or ended by command', always: true },
    },
  },
  'catalog.published': {
    text: 'Another catalog is in force. Of no account.',
    data: { version: { kind: 'text', text: 'of the catalog', always: true } },
  },
  'webhook.ping': { text: 'Sent to one webhook to try it. Not in the feed, of no account.', data: {} },
} as const satisfies Readonly<Record<string, EventTypeRow>>

export type EventType = keyof typeof eventTypes
export const eventTypeNames = Object.keys(eventTypes) as EventType[]

export const rowOf = (type: EventType): EventTypeRow => eventTypes[type]
export const isUsage = (type: EventType): boolean => rowOf(type).usage === true

const schemaOfKind: Readonly<Record<FieldKind, object>> = {
  text: { type: 'string' },
  texts: { type: 'array', items: { type: 'string' } },
  time: { type: 'string', format: 'date-time' },
  money: { type: 'string', pattern: '^-?\\d+\\.\\d{2,6}$' },
  units: { type: ['integer', 'string'] },
  count: { type: 'integer' },
  flag: { type: 'boolean' },
  dates: { type: 'object', additionalProperties: { type: 'string', format: 'date-time' } },
}

/** JSON Schema (draft 2020-12) of an event. */
export const eventSchema = (): object => ({
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'ocsd event',
  type: 'object',
  required: ['id', 'type', 'at', 'data'],
  properties: {
    id: { type: 'string', description: 'names the event for good: the same id is the same event' },
    type: { type: 'string' },
    at: { type: 'string', format: 'date-time', description: 'business time' },
    account: { type: 'string', description: 'absent where an event is of no account' },
    seq: {
      type: 'integer',
      description:
        'of the ledger entry in its account: events of an account come in this order; several may have one number',
    },
    balances: {
      type: 'object',
      description: 'what the entry moved, as it is after it; what is absent did not move',
      properties: {
        currency: { type: 'string' },
        money: schemaOfKind.money,
        debt: schemaOfKind.money,
        buckets: {
          type: 'array',
          items: {
            type: 'object',
            required: ['bucket', 'unit', 'left'],
            properties: {
              bucket: { type: 'string' },
              name: { type: 'string' },
              unit: { type: 'string', enum: ['octets', 'seconds', 'events', 'units', 'money'] },
              left: schemaOfKind.units,
            },
          },
        },
      },
    },
    data: { type: 'object' },
  },
  oneOf: eventTypeNames.map(type => ({
    description: rowOf(type).text,
    properties: { type: { const: type }, data: dataSchema(rowOf(type)) },
  })),
})

function dataSchema({ data }: EventTypeRow): object {
  const fields = Object.entries(data)
  return {
    type: 'object',
    required: fields.filter(([, { always }]) => always).map(([field]) => field),
    properties: Object.fromEntries(
      fields.map(([field, { kind, text }]) => [field, { ...schemaOfKind[kind], description: text }]),
    ),
  }
}
