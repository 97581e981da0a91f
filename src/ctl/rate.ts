/** `ocsctl rate` and `ocsctl explain`: what usage would cost, what was charged, and why. */
import { Option, type Command } from 'commander'
import type { Explanation } from '../inquiry/explanation.js'
import type { Rated } from '../inquiry/rate.js'
import type { Ctl, Options } from './command.js'

interface RateOptions extends Options {
  readonly account?: string
  readonly subscriber?: string
  readonly offer?: readonly string[]
  readonly currency?: string
  readonly balance?: string
  readonly creditLimit?: string
  readonly attribute?: readonly string[]
  readonly at?: string
  readonly over?: string
  readonly group?: string
  readonly plmn?: string
  readonly called?: string
  readonly apn?: string
  readonly rat?: string
}

interface ExplainOptions extends Options {
  readonly session?: string
  readonly number?: string
  readonly account?: string
  readonly subscriber?: string
  readonly at?: string
  readonly limit?: string
}

export function addRateCommands(program: Command, ctl: Ctl): void {
  const { command, call, put, usage } = ctl
  command(program, 'rate <service> <amount>', 'What usage would cost, and why. Nothing is charged.')
    .option('--subscriber <identity>', 'whose: an MSISDN, imsi:… or nai:…')
    .option('--account <id>', 'whose, where the account has one subscriber')
    .option('--offer <name...>', 'of an account that is only described: its offers')
    .option('--currency <code>', 'its currency, that of the catalog when absent')
    .option('--balance <amount>', 'its money, 100.00 when absent')
    .option('--credit-limit <amount>', 'how far below zero its money may go')
    .option('--attribute <key=value...>', 'its attributes')
    .option('--at <time>', 'like 2026-12-24T18:00; now when absent')
    .option('--over <duration>', 'volume is used evenly over so long, like 2h')
    .option('--group <number>', 'rating group')
    .option('--identifier <number...>', 'service identifiers')
    .option('--plmn <digits>', 'serving network, MCC and MNC')
    .option('--called <number>', 'number of the called party')
    .option('--apn <name>', 'access point')
    .option('--rat <name>', 'radio technology')
    .addHelpText(
      'after',
      `
Amounts with their unit: 5MB, 90s, 3 (events), 12.50 (money).
  ocsctl rate data 250MB --subscriber 491701000001 --group 10
  ocsctl rate voice 3m --offer payg --balance 5.00 --called 4930123456 --at 2026-12-24T19:59`,
    )
    .action(
      async (service: string, amount: string, options: RateOptions & { readonly identifier?: readonly string[] }) => {
        const { account, subscriber, offer, currency, balance, creditLimit, attribute } = options
        const { at, over, group, plmn, called, apn, rat } = options
        if ([account, subscriber, offer].filter(each => each !== undefined).length !== 1)
          throw usage('name one of --subscriber, --account and --offer')
        const rated = await call<Rated>(options, 'POST', '/v1/rate', {
          ...{
            account,
            subscriber,
            offers: offer,
            currency,
            balance,
            creditLimit,
            service,
            amount,
            at,
            over,
            plmn,
            called,
            apn,
            rat,
          },
          attributes: attribute && Object.fromEntries(attribute.map(word => pairOf(word, usage))),
          ratingGroup: group === undefined ? undefined : numberOf('--group', group, usage),
          serviceIdentifiers: options.identifier?.map(each => numberOf('--identifier', each, usage)),
        })
        put(options, rated, () => rated.text.join('\n'))
      },
    )
  command(program, 'explain', 'Why something was charged, granted or refused.')
    .option('--session <id>', 'Session-Id')
    .option('--number <number>', 'CC-Request-Number in the session')
    .option('--subscriber <identity>', 'an MSISDN, imsi:… or nai:…')
    .option('--account <id>', 'instead of a subscriber')
    .option('--at <time>', 'the entries nearest to it, like 2026-12-24T18:00; the newest when absent')
    .addOption(new Option('--limit <count>', 'at most so many entries, up to 50'))
    .action(async (options: ExplainOptions) => {
      const { session, number, subscriber, account, at, limit } = options
      if (session === undefined && subscriber === undefined && account === undefined)
        throw usage('name --session (and --number), or --subscriber or --account (and --at)')
      const given = Object.entries({ session, number, subscriber, account, at, limit })
      const query = new URLSearchParams(given.filter((pair): pair is [string, string] => pair[1] !== undefined))
      const answer = await call<{ explanations: Explanation[] }>(options, 'GET', `/v1/explain?${query.toString()}`)
      put(options, answer, () => answer.explanations.map(({ text }) => text.join('\n')).join('\n\n'))
    })
}

function pairOf(word: string, usage: Ctl['usage']): [string, string] {
  const equals = word.indexOf('=')
  if (equals < 1) throw usage(`${word} is not key=value`)
  return [word.slice(0, equals), word.slice(equals + 1)]
}

function numberOf(option: string, text: string, usage: Ctl['usage']): number {
  if (!/^\d{1,10}$/.test(text)) throw usage(`${option}: ${text} is not a number`)
  return Number(text)
}
