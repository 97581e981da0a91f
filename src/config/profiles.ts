/**
 * Profiles: how a peer may differ from the standard, as data. `config/profiles.yaml` is shipped, `diameter.profiles` of the
 * configuration adds to it or changes it, a row of the peer table names one or writes its own.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { PeerProfile } from './config.js'
import { choice, group } from './optional.js'
import {
  fault,
  isTable,
  meant,
  parseYaml,
  readFields,
  readList,
  readTable,
  readText,
  type Fault,
  type Value,
} from './yaml.js'

/** By name. */
export type Profiles = ReadonlyMap<string, PeerProfile>

/** What holds for a peer of which nothing else is known. */
export const standardProfile: PeerProfile = {
  requestedUnits: 'bound',
  subscriptionId: 'sometimes',
  onOutage: 'answer',
  lateUsage: 'charge',
  reusedNumber: 'answer',
  refunds: 'reference',
  omit: [],
  finalUnits: 'rfc4006',
  tariffSwitch: 'announce',
}

const shipped = fileURLToPath(new URL('../../config/profiles.yaml', import.meta.url))

const members = [
  'requestedUnits',
  'subscriptionId',
  'onOutage',
  'lateUsage',
  'reusedNumber',
  'refunds',
  'omit',
  'finalUnits',
  'tariffSwitch',
] as const satisfies readonly (keyof PeerProfile)[]

/** Without these a client cannot make anything of an answer. */
const indispensable: ReadonlySet<string> = new Set([
  'Session-Id',
  'Result-Code',
  'Origin-Host',
  'Origin-Realm',
  'Auth-Application-Id',
  'CC-Request-Type',
  'CC-Request-Number',
  'Multiple-Services-Credit-Control',
  'Granted-Service-Unit',
  'Rating-Group',
  'Service-Identifier',
  'Validity-Time',
  'Failed-AVP',
  'Proxy-Info',
])

/**
 * The shipped profiles, and over them those of the configuration.
 *
 * @param own `diameter.profiles`; its faults go to its file
 * @param faults for those of the shipped file
 */
export function readProfiles(own: Value | undefined, faults: Fault[]): Profiles {
  const profiles = new Map<string, PeerProfile>([['standard', standardProfile]])
  const root = readShipped(faults)
  if (root) addProfiles(root, profiles)
  if (own) addProfiles(own, profiles)
  return profiles
}

/** A name of a profile, or a mapping of what differs from the standard. */
export function readProfile(value: Value | undefined, profiles: Profiles): PeerProfile {
  const standard = profiles.get('standard')!
  if (value === undefined) return standard
  return isTable(value) ? readMembers(value, standard) : named(value, profiles)
}

function readShipped(faults: Fault[]): Value | undefined {
  try {
    return parseYaml(shipped, readFileSync(shipped, 'utf8'), faults)
  } catch (error) {
    const message = `the shipped profiles cannot be read: ${(error as Error).message}`
    faults.push({ file: shipped, line: 1, column: 1, message, hint: 'install ocsd again, with its folder `config`' })
    return undefined
  }
}

/** In the order of the file: `like` names one above, so that none is like itself. */
function addProfiles(table: Value, profiles: Map<string, PeerProfile>): void {
  for (const { name, value } of readTable(table)) {
    const { like } = readFields(value, [...members, 'like'])
    const base = like ? named(like, profiles) : (profiles.get(name) ?? profiles.get('standard')!)
    profiles.set(name, readMembers(value, base, ['like']))
  }
}

function named(value: Value, profiles: Profiles): PeerProfile {
  const name = readText(value)
  const found = name === undefined ? undefined : profiles.get(name)
  if (name !== undefined && !found) {
    const names = [...profiles.keys()]
    fault(value, `there is no profile \`${name}\``, meant(name, names) ?? `write one of ${names.join(', ')}`)
  }
  return found ?? profiles.get('standard')!
}

function readMembers(value: Value, base: PeerProfile, besides: readonly 'like'[] = []): PeerProfile {
  const fields = group(value, [...members, ...besides])
  return {
    requestedUnits: choice(fields.requestedUnits, ['bound', 'ignore'], base.requestedUnits),
    subscriptionId: choice(fields.subscriptionId, ['sometimes', 'always'], base.subscriptionId),
    onOutage: choice(fields.onOutage, ['answer', 'silent'], base.onOutage),
    lateUsage: choice(fields.lateUsage, ['charge', 'record'], base.lateUsage),
    reusedNumber: choice(fields.reusedNumber, ['answer', 'refuse'], base.reusedNumber),
    refunds: choice(fields.refunds, ['reference', 'any'], base.refunds),
    omit: fields.omit ? readOmitted(fields.omit) : base.omit,
    finalUnits: choice(fields.finalUnits, ['rfc4006', 'rfc8506', 'both'], base.finalUnits),
    tariffSwitch: choice(fields.tariffSwitch, ['announce', 'validity'], base.tariffSwitch),
  }
}

/** Whether a dictionary has the AVP is asked where there is one. */
function readOmitted(value: Value): string[] {
  const names: string[] = []
  for (const each of readList(value)) {
    const name = readText(each)
    if (name === undefined) continue
    if (indispensable.has(name)) fault(each, `an answer without ${name} is of no use to any client`, 'remove it')
    else names.push(name)
  }
  return names
}
