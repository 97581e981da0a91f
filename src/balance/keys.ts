/**
 * Names of the keys in Redis (state in Redis: accounts are spread over a fixed number of partitions, and all keys of a
 * partition share one hash tag, so that whatever a script touches is in one slot).
 */
import { createHash } from 'node:crypto'
import type { Identity } from './types.js'

export const storeKey = 'ocs:store'
/** How far the business clock of a virtual one is ahead of real time: `<ms> <token of who moved it last>`. */
export const virtualTimeKey = 'ocs:virtual-time'
/** zset: Origin-Host of a gateway, by its last Origin-State-Id. */
export const originStatesKey = 'ocs:origin-states'

export const accountKey = (partition: number, account: string): string => `ocs:{${partition}}:account:${account}`
export const sessionKey = (partition: number, sessionId: string): string => `ocs:{${partition}}:session:${sessionId}`
export const dueKey = (partition: number): string => `ocs:{${partition}}:due`
export const journalKey = (partition: number): string => `ocs:{${partition}}:journal`
export const onceKey = (partition: number, key: string): string => `ocs:{${partition}}:once:${key}`
/** How many units of a debit were refunded, by the reference of the debit. */
export const refundedKey = (partition: number, reference: string): string => `ocs:{${partition}}:refunded:${reference}`
/** Marks of sessions that ended in an hour (hours since 1970). */
export const endedKey = (partition: number, hour: number): string => `ocs:{${partition}}:ended:${hour}`
/** How many subscriptions (`offer:<name>`) and buckets (`bucket:<name>`) the accounts of a partition have. */
export const censusKey = (partition: number): string => `ocs:{${partition}}:census`
/** How far each ledger consumer has come, by its name. */
export const consumersKey = (partition: number): string => `ocs:{${partition}}:consumers`
/** Who looks after the partition's journal and due list for the moment. */
export const leaseKey = (partition: number): string => `ocs:{${partition}}:lease`
/** Which daemon does what is to be done once by any of them: `audit:2026-11-22`. */
export const claimKey = (name: string): string => `ocs:claim:${name}`
/** Daemons that live: when each was last heard of. */
export const daemonsKey = 'ocs:daemons'

/** How far a payment has come, JSON. */
export const paymentKey = (partition: number, id: string): string => `ocs:{${partition}}:payment:${id}`
/** The account of a payment. */
export const paymentIndexKey = (id: string): string => `ocs:payment-index:${id}`
/** hash: settings of automatic recharges by account, JSON. */
export const automaticKey = (partition: number): string => `ocs:{${partition}}:automatic`
/** hash: API keys by their id, JSON without the secret. */
export const apiKeysKey = 'ocs:api-keys'
/** hash: requests that wait for a second person, by their id, JSON. */
export const approvalsKey = 'ocs:approvals'
/** hash: by daemon, number and hash of the last line of its audit log. */
export const auditHeadsKey = 'ocs:audit-heads'

/** First answer to a request of the admin API, by the principal and the Idempotency-Key that it chose. */
/** Of the client's key only a hash: the answer is encrypted under it. */
export const idempotencyKey = (principal: string, key: string): string =>
  `ocs:idempotency:${principal}:${createHash('sha256').update(key).digest('base64url')}`

/** hash: published catalogs, src/balance/publications.ts */
export const publicationsKey = 'ocs:catalog'

/** hash: program id → what it means, JSON. */
export const programsKey = 'ocs:programs'

/** hash: a transfer to another account, with its sender. */
export const transferKey = (partition: number, id: string): string => `ocs:{${partition}}:transfer:${id}`

export const sessionIndexKey = (sessionId: string): string => `ocs:session-index:${sessionId}`
export const referenceKey = (channel: string, reference: string): string => `ocs:reference:${channel}:${reference}`

/** Identities live in hashes of about 100, a sixth of the memory of a key each: numbers by all but their last two digits. */
export function identityKey(identity: Identity): { key: string; field: string } {
  const { type, value } = identity
  if (type === 'nai') return { key: `ocs:subscriber:nai:${hash32(value) & 0xffff}`, field: value }
  return { key: `ocs:subscriber:${type}:${value.slice(0, -2)}`, field: value.slice(-2) }
}

export const partitionOf = (account: string, partitions: number): number => hash32(account) % partitions

/** FNV-1a over the UTF-16 units: fast, stable, and not for secrets. */
export function hash32(text: string, seed = 0x811c9dc5): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** Two hashes side by side: names a session in its partition's marks. */
export const shortName = (text: string): string => hash32(text).toString(36) + hash32(text, 0x01234567).toString(36)

// Vouchers. All of a batch is in one slot; the codes are spread by their HMAC.

/** zset: batches by their number. Beside it the last number, and the batch of each request for one. */
export const voucherBatchesKey = 'ocs:voucher-batches'
export const voucherLastKey = 'ocs:voucher-last'
export const voucherOnceKey = (key: string): string => `ocs:voucher-once:${key}`
/** set: ids of the keys that batches of this store were made with. */
export const voucherKeysKey = 'ocs:voucher-keys'
/** hash of about 100 codes: part of the HMAC → `<batch>-<serial>`. */
export const voucherCodesKey = (bucket: number): string => `ocs:voucher:${bucket}`
export const voucherBatchKey = (batch: string): string => `ocs:{voucher-${batch}}:batch`
/** hash of 100 serials. */
export const voucherSerialsKey = (batch: string, serial: number): string =>
  `ocs:{voucher-${batch}}:serials:${Math.floor(serial / 100)}`
export const voucherReportKey = (batch: string): string => `ocs:{voucher-${batch}}:report`
/** A redemption that is over without having claimed. */
export const voucherBarredKey = (batch: string, redemption: string): string =>
  `ocs:{voucher-${batch}}:barred:${redemption}`
/** Who tried wrong codes: `account-<id>`, `principal-<id>`, `outlet-<name>`; not like the key of an account, which scans look for. */
export const voucherGuessKey = (who: string): string => `ocs:{voucher-guess}:${who}`

// Events. All but the watches are in one slot.

/** stream: events for other systems. */
export const feedKey = 'ocs:{events}:feed'
/** hash: partition → id of the last journal entry whose events are in the feed; `trimmed`: cursor of the newest event that left it. */
export const feedPositionsKey = 'ocs:{events}:positions'
/** hash: account → what was told of it that is told once until it is refilled. */
export const watchesKey = (partition: number): string => `ocs:{${partition}}:watches`
/** hash: cursor, whether it is paused. */
export const webhookKey = (name: string): string => `ocs:{events}:webhook:${name}`
/** Who delivers for the moment. */
export const webhookLeaseKey = (name: string): string => `ocs:{events}:webhook:${name}:lease`
/** hash: accounts that wait for another try, by their id, and their events, by id and number. */
export const webhookParkedKey = (name: string): string => `ocs:{events}:webhook:${name}:parked`
/** list: events that are to be delivered again by command. */
export const webhookReplayKey = (name: string): string => `ocs:{events}:webhook:${name}:replay`
/** stream: events that no webhook took in time. */
export const deadEventsKey = 'ocs:{events}:dead'
