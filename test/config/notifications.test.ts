/**
 * The section `notifications`: what it says, and each fault with what to write instead.
 */
import t from 'tap'
import type { NotificationsConfig } from '../../src/config/config.js'
import { readConfig } from '../../src/config/load.js'
import { formatFault } from '../../src/config/yaml.js'
import { Notifications } from '../../src/notification/notifications.js'

const environment = { NEW: 'new', OLD: 'old', KEY: 'k-1' }
const read = (text: string): ReturnType<typeof readConfig> => readConfig('/etc/ocs/ocs.yaml', text, environment)
function notificationsOf(text: string): NotificationsConfig {
  const outcome = read(text)
  if ('faults' in outcome) throw new Error(outcome.faults.map(formatFault).join('\n'))
  return outcome.config.notifications
}

const crm = (more: string): string =>
  `notifications: { webhooks: [{ name: crm, url: 'https://crm.example.net/h', ${more} }] }`

t.test('a webhook with all its keys, and one with the defaults', t => {
  const full = crm(
    "secret: ['${env:NEW}', '${env:OLD}'], types: [balance.*, account.status], timeout: 3s, parallel: 2, " +
      "headers: { X-Api-Key: '${env:KEY}' }, retry: { first: 2s, most: 10m, giveUp: 3d }",
  )
  t.same(notificationsOf(full).webhooks, [
    {
      ...{ name: 'crm', url: 'https://crm.example.net/h', secrets: ['new', 'old'], timeoutMs: 3_000, parallel: 2 },
      ...{ types: ['balance.*', 'account.status'], headers: { 'X-Api-Key': 'k-1' } },
      retry: { firstMs: 2_000, mostMs: 600_000, giveUpMs: 3 * 86_400_000 },
    },
  ])
  t.match(notificationsOf(crm("secret: '${env:NEW}'")), {
    ...{ keepMs: 30 * 86_400_000, mostEvents: 1_000_000, usage: true },
    webhooks: [{ types: [], timeoutMs: 10_000, retry: { firstMs: 1_000, mostMs: 3_600_000, giveUpMs: 86_400_000 } }],
  })
  t.end()
})

const faults: readonly (readonly [string, RegExp])[] = [
  [crm('types: []'), /lacks `secret`/],
  [crm('secret: plain'), /is written out/],
  [crm("secret: ['${env:NEW}', '${env:OLD}', '${env:KEY}']"), /two secrets at most/],
  [crm("secret: '${env:NONE}'"), /the environment has no NONE/],
  [crm("secret: '${env:NEW}', types: [everything]"), /is not a type of event/],
  [crm("secret: '${env:NEW}', headers: { Ocs-Event-Id: x }"), /no header that may be added/],
  [crm('secret: \'${env:NEW}\', headers: { X-Key: "a\\r\\nb" }'), /characters that no header may have/],
  [crm("secret: '${env:NEW}', timeout: 2h"), /above/],
  [crm("secret: '${env:NEW}', secrets: x"), /unknown key `secrets`/],
  ["notifications: { webhooks: [{ name: crm, url: 'ftp://x', secret: '${env:NEW}' }] }", /no address to send to/],
  [
    "notifications: { webhooks: [{ name: crm, url: 'https://u:p@x/', secret: '${env:NEW}' }] }",
    /no address to send to/,
  ],
  ["notifications: { webhooks: [{ name: 'a b', url: 'https://x/', secret: '${env:NEW}' }] }", /is not a name/],
  [
    "notifications: { webhooks: [{ name: a, url: 'https://x/', secret: '${env:NEW}' }, { name: a, url: 'https://x/', secret: '${env:NEW}' }] }",
    /two webhooks are named a/,
  ],
  ['notifications: { keep: 1s }', /below/],
]

for (const [text, message] of faults)
  t.test(`refused: ${text}`, t => {
    const outcome = read(text)
    t.match('faults' in outcome ? outcome.faults.map(formatFault).join('\n') : '', message)
    t.end()
  })

t.test('a type that there is not is told before anything starts', t => {
  t.match(Notifications.faults(notificationsOf(crm("secret: '${env:NEW}', types: [balance.fell]"))), [
    /crm: there is no type of event balance\.fell/,
  ])
  t.same(Notifications.faults(notificationsOf(crm("secret: '${env:NEW}', types: ['*', usage.*]"))), [])
  t.end()
})
