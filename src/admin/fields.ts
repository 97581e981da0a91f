/** Schemas of what many routes take: one wording and one pattern for each. */
import { accountId, object, text, type Schema } from './route.js'

export const money = text('Decimal text like 5.00, at most six decimals', { pattern: '^\\d{1,9}(\\.\\d{1,6})?$' })
export const currency = text('ISO 4217, like EUR', { pattern: '^[A-Z]{3}$' })
export const reason = text('Why, 3 to 200 characters in one line', { pattern: '^[^\\u0000-\\u001f]{3,200}$' })

const who = (description: string): Schema => text(description, { pattern: '^[\\w.@:-]{1,64}$' })
export const actor = who('Who asked for it, for the ledger')
/** Where nothing of it is in the ledger. */
export const actorForLog = who('Who asked for it, for the log')

export const sessionId = text('Session-Id as the gateway sent it', { minLength: 1, maxLength: 512 })
export const subscriberNumber = text('Number of a subscriber of the account, like 1', { pattern: '^[1-9]\\d{0,5}$' })
export const accountParams = object(['id'], { id: accountId })
export const identityParams = object(['type', 'value'], {
  type: { type: 'string', enum: ['msisdn', 'imsi', 'nai'] },
  value: text('The identity', { minLength: 1, maxLength: 253 }),
})
