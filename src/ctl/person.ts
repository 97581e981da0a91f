/** `ocsctl person`: one person's data, to read or to erase, and what stands for him in logs. */
import type { Command } from 'commander'
import type { Ctl, Options } from './command.js'

function pathOf(identity: string, last: string): string {
  const match = /^(msisdn|imsi|nai):(.*)$/.exec(identity)
  const [type, value] = match ? [match[1]!, match[2]!] : [identity.includes('@') ? 'nai' : 'msisdn', identity]
  return `/v1/subscribers/${type}/${encodeURIComponent(value)}/${last}`
}

export function addPersonCommands(program: Command, { command, final, confirm, call, put, actor }: Ctl): void {
  command(
    program,
    'self-care-token <account>',
    'A token with which a subscriber’s own app reads what is his (GET /v1/self).',
  )
    .option('--subscriber <number>', 'of the account', '1')
    .option('--minutes <count>', 'it ends after so many', '60')
    .action(async (account: string, options: Options & { readonly subscriber: string; readonly minutes: string }) => {
      const body = { subscriber: options.subscriber, minutes: Number(options.minutes), actor }
      const path = `/v1/accounts/${encodeURIComponent(account)}/self-care-tokens`
      const made = await call<{ token: string; expires: string }>(options, 'POST', path, body)
      put(options, made, () => `${made.token}\n(until ${made.expires})`)
    })
  const person = program.command('person').description('One person’s data: an MSISDN, imsi:… or nai:….').exitOverride()
  command(person, 'export <identity>', 'All that is known of one person, as JSON. It is recorded who asked.').action(
    async (identity: string, options: Options) => {
      const all = await call<object>(options, 'GET', pathOf(identity, 'person'))
      put(options, all, () => JSON.stringify(all, undefined, 2))
    },
  )
  final(command(person, 'erase <identity>', 'Erase one person: identities go, money records stay.'))
    .requiredOption('--reason <text>', 'why, for the audit log')
    .action(async (identity: string, options: Options & { readonly reason: string }) => {
      await confirm(options, 'All identities of this person are erased, for good.')
      const path = pathOf(identity, 'erase')
      const done = await call<{ account: string; subscriber: string; erased: string[]; lastOfAccount: boolean }>(
        ...([options, 'POST', path, { reason: options.reason, actor }] as const),
      )
      put(options, done, () => {
        const left = done.lastOfAccount ? '; nobody is left in the account, its money stays until it is terminated' : ''
        return `erased: ${done.erased.join(', ')} of subscriber ${done.subscriber} of account ${done.account}${left}`
      })
    })
  command(person, 'pseudonym <identity>', 'What stands for an identity in records of traces.').action(
    async (identity: string, options: Options) => {
      const answer = await call<{ pseudonym: string }>(options, 'GET', pathOf(identity, 'pseudonym'))
      put(options, answer, () => answer.pseudonym)
    },
  )
}
