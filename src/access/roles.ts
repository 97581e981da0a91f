/** Who may do what over the admin API: permissions, the roles that have them, and who asks. */

/** What a route needs. `read` looks, `write` changes; the others are named after what is done. */
export const permissions = [
  'account.read',
  'account.write',
  /** Money in from outside: recharges, vouchers. */
  'recharge.write',
  /** Money that we give or take by hand. */
  'adjustment.write',
  'transfer.write',
  'voucher.read',
  'voucher.write',
  'subscription.write',
  'session.read',
  'session.write',
  'ledger.read',
  'catalog.read',
  'catalog.write',
  'catalog.publish',
  'report.read',
  'notification.read',
  'notification.write',
  'job.read',
  'job.write',
  'peer.read',
  'peer.write',
  'trace',
  'status.read',
  /** Import and export of whole books. */
  'bulk.read',
  'bulk.write',
  'approval.write',
  'key.write',
  'auditlog.read',
  /** Export and erasure of one person's data. */
  'person.write',
  /** Time of a system with a virtual clock. */
  'clock.write',
] as const
export type Permission = (typeof permissions)[number]

export const roles = [
  'viewer',
  'care',
  'recharge-agent',
  'finance',
  'tariff-editor',
  'approver',
  'sre',
  'auditor',
  'admin',
] as const
export type Role = (typeof roles)[number]

const reading: readonly Permission[] = ['account.read', 'session.read', 'catalog.read', 'status.read']

/** What a role may do; somebody with several roles may do what any of them may. */
export const permissionsOf: Readonly<Record<Role, readonly Permission[]>> = {
  viewer: [...reading, 'voucher.read', 'notification.read'],
  care: [
    ...[...reading, 'ledger.read', 'voucher.read', 'notification.read', 'job.read'],
    ...['account.write', 'recharge.write', 'adjustment.write', 'subscription.write', 'session.write'],
  ] as Permission[],
  'recharge-agent': ['account.read', 'recharge.write', 'voucher.read'],
  finance: [
    ...[...reading, 'ledger.read', 'report.read', 'voucher.read', 'auditlog.read', 'bulk.read'],
    ...['recharge.write', 'adjustment.write', 'transfer.write', 'voucher.write'],
  ] as Permission[],
  'tariff-editor': [...reading, 'report.read', 'catalog.write'],
  approver: [...reading, 'ledger.read', 'report.read', 'catalog.publish', 'approval.write'],
  sre: [
    ...[...reading, 'ledger.read', 'notification.read', 'notification.write', 'job.read', 'job.write'],
    ...['session.write', 'peer.read', 'peer.write', 'trace', 'clock.write'],
  ] as Permission[],
  auditor: [...reading, 'ledger.read', 'report.read', 'voucher.read', 'auditlog.read', 'job.read', 'notification.read'],
  admin: permissions,
}

/** Who asks, found out from the request's credentials before anything else is looked at. */
export interface Principal {
  /** For ledger and audit log, 1 to 64 of A-Z a-z 0-9 _ . @ : - */
  readonly id: string
  /** `token`: whoever holds the token of the data folder; may say for whom it acts. */
  readonly kind: 'token' | 'key' | 'jwt' | 'subscriber'
  readonly roles: readonly Role[]
  /** Of a subscriber's own token: what it may read. */
  readonly self?: { readonly account: string; readonly subscriber: string }
  /** The most that one request may credit or debit, decimal text by currency; a currency that is not named: nothing. Absent: no bound. */
  readonly ceilings?: Readonly<Record<string, string>>
}

export const mayDo = ({ roles: held }: Principal, permission: Permission): boolean =>
  held.some(role => permissionsOf[role].includes(permission))
