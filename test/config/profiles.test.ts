import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import type { PeerProfile } from '../../src/config/config.js'
import { readConfig } from '../../src/config/load.js'
import { standardProfile } from '../../src/config/profiles.js'
import { linesOf, plant, type Mistake } from '../support/mistake.js'

const file = '/etc/ocs/ocs.yaml'

const good = `diameter:
  profiles:
    open5gs: { onOutage: answer }
    mine:
      like: open5gs
      omit: [Low-Balance-Indication, Cost-Information]
      refunds: any
  peers:
    - { name: a, identity: a.example.net, from: 10.0.0.1 }
    - { name: b, identity: b.example.net, from: 10.0.0.2, profile: open5gs }
    - { name: c, identity: c.example.net, from: 10.0.0.3, profile: mine }
    - { name: d, identity: d.example.net, from: 10.0.0.4, profile: { finalUnits: rfc8506 } }
    - { name: e, identity: e.example.net, from: 10.0.0.5, profile: strict }
`

/** Profiles of the peers, in their order. */
function profilesOf(text: string): PeerProfile[] {
  const outcome = readConfig(file, text)
  if ('config' in outcome) return outcome.config.diameter.peers.map(peer => peer.profile)
  throw new Error(linesOf(outcome.faults).join('\n'))
}

const open5gs: PeerProfile = {
  ...standardProfile,
  requestedUnits: 'ignore',
  subscriptionId: 'always',
  onOutage: 'silent',
  tariffSwitch: 'validity',
  omit: ['Announcement-Information'],
}

void t.test('a row has the standard profile, the profile it names, or the standard with what it writes', t => {
  t.same(profilesOf(good), [
    standardProfile,
    { ...open5gs, onOutage: 'answer' },
    { ...open5gs, onOutage: 'answer', refunds: 'any', omit: ['Low-Balance-Indication', 'Cost-Information'] },
    { ...standardProfile, finalUnits: 'rfc8506' },
    { ...standardProfile, reusedNumber: 'refuse' },
  ])
  t.end()
})

void t.test('the shipped file writes every member of the standard', t => {
  const shipped = parse(readFileSync('config/profiles.yaml', 'utf8')) as Record<string, unknown>
  t.same(shipped['standard'], standardProfile)
  t.same(Object.keys(shipped), ['standard', 'open5gs', 'strict'])
  t.same(profilesOf('diameter: { peers: { name: a, identity: "*", from: 10.0.0.1, profile: open5gs } }'), [open5gs])
  t.end()
})

void t.test('a changed standard holds for all that are over it', t => {
  const text = `diameter: { profiles: { standard: { refunds: any }, new: { lateUsage: record } }, peers: [
    { name: a, identity: a.example.net, from: 10.0.0.1 },
    { name: b, identity: b.example.net, from: 10.0.0.2, profile: { reusedNumber: refuse } },
    { name: c, identity: c.example.net, from: 10.0.0.3, profile: new } ] }`
  t.same(profilesOf(text), [
    { ...standardProfile, refunds: 'any' },
    { ...standardProfile, refunds: 'any', reusedNumber: 'refuse' },
    { ...standardProfile, refunds: 'any', lateUsage: 'record' },
  ])
  t.match(profilesOf('diameter: { profiles: { standard: { refunds: any } } }'), [{ refunds: 'any' }])
  t.end()
})

const mistakes: Mistake[] = [
  {
    replace: 'profile: open5gs',
    by: 'profile: «opengs',
    expect: 'there is no profile `opengs`; did you mean `open5gs`?',
  },
  {
    replace: 'profile: strict',
    by: 'profile: «ours',
    expect: 'there is no profile `ours`; write one of standard, open5gs, strict, mine',
  },
  {
    replace: 'like: open5gs',
    by: 'like: «mine',
    expect: 'there is no profile `mine`; write one of standard, open5gs, strict',
  },
  {
    replace: '{ onOutage: answer }',
    by: '{ onOutage: «quiet }',
    expect: 'diameter.profiles.open5gs.onOutage: `quiet` is not one of answer, silent; write one of answer, silent',
  },
  {
    replace: 'finalUnits:',
    by: '«finalUnit:',
    expect: 'unknown key `finalUnit` in diameter.peers[3].profile; did you mean `finalUnits`?',
  },
  {
    replace: 'omit: [Low-Balance-Indication,',
    by: 'omit: [«Result-Code,',
    expect: 'an answer without Result-Code is of no use to any client; remove it',
  },
]

void t.test('every planted mistake is told with its place and a hint, alone', t => {
  for (const mistake of mistakes) {
    const { text, line } = plant(file, good, mistake)
    const outcome = readConfig(file, text)
    t.same('faults' in outcome ? linesOf(outcome.faults) : [], [line], `${mistake.replace} → ${mistake.by}`)
  }
  t.end()
})
