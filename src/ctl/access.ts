/** `ocsctl whoami`, `roles`, `keys`, `approvals` and `auditlog`: who may do what, what waits for a second person, and who did what. */
import type { Command } from 'commander'
import type { Role } from '../access/roles.js'
import type { Ctl, Options } from './command.js'
import { pairs, table } from './text.js'

interface KeyView {
  readonly id: string
  readonly name: string
  readonly roles: readonly Role[]
  readonly ceilings: Readonly<Record<string, string>> | null
  readonly state: string
  readonly createdBy: string
  readonly expires: string
}

interface ApprovalView {
  readonly id: string
  readonly state: string
  readonly held: string
  readonly route: string
  readonly params: Readonly<Record<string, string>>
  readonly body: unknown
  readonly by: string
  readonly actor: string
  readonly at: string
  readonly decidedBy: string | null
  readonly answer: { readonly status: number; readonly body: { readonly detail?: string } } | null
}

interface AuditLine {
  readonly n?: number
  readonly at?: string
  readonly event?: string
  readonly by?: string
  readonly actor?: string
  readonly action?: string
  readonly params?: Readonly<Record<string, string>>
  readonly why?: string
  readonly status?: number
  readonly fault?: string
}

export function addAccessCommands(program: Command, ctl: Ctl): void {
  const { command, final, confirm, call, put, actor } = ctl
  command(program, 'whoami', 'Who you are to the daemon, and what you may do.').action(async (options: Options) => {
    const me = await call<{ id: string; kind: string; roles: string[]; permissions: string[] }>(
      options,
      'GET',
      '/v1/whoami',
    )
    put(options, me, () =>
      pairs({ who: `${me.id} (${me.kind})`, roles: me.roles.join(', '), may: me.permissions.join(', ') }),
    )
  })
  command(program, 'roles', 'The roles, and what each may do.').action(async (options: Options) => {
    const answer = await call<{ roles: Record<string, string[]> }>(options, 'GET', '/v1/roles')
    put(options, answer, () =>
      table(
        ['role', 'may'],
        Object.entries(answer.roles).map(([role, may]) => [role, may.join(', ')]),
      ),
    )
  })
  addKeyCommands(program, ctl)
  const approvals = program.command('approvals').description('Requests that wait for a second person.').exitOverride()
  command(approvals, 'list', 'What waits, and what was decided, newest first.')
    .option('--all', 'those that were decided, too')
    .action(async (options: Options & { readonly all?: boolean }) => {
      const path = `/v1/approvals${options.all ? '' : '?state=waiting'}`
      const answer = await call<{ approvals: ApprovalView[] }>(options, 'GET', path)
      put(options, answer, () => approvalsText(answer.approvals))
    })
  final(command(approvals, 'approve <id>', 'Agree: it is done now.'))
    .option('--reason <text>', 'why, for the audit log')
    .action(async (id: string, options: Options & { readonly reason?: string }) => {
      const waiting = await call<{ approvals: ApprovalView[] }>(options, 'GET', '/v1/approvals')
      const wanted = waiting.approvals.find(each => each.id === id)
      const what = wanted ? `${placed(wanted.route, wanted.params)} ${amountOf(wanted.body)} of ${wanted.actor}` : id
      await confirm(options, `It is done at once: ${what}.`)
      const path = `/v1/approvals/${encodeURIComponent(id)}/approve`
      const answer = await call<ApprovalView>(options, 'POST', path, { reason: options.reason, actor })
      put(options, answer, () => {
        const said = answer.answer?.body.detail
        return answer.state === 'approved'
          ? `approved and done (${answer.route})`
          : `approved, and refused: ${said ?? 'see --json'}`
      })
      if (answer.state !== 'approved') process.exitCode = 1
    })
  command(approvals, 'reject <id>', 'Refuse it, or take back your own.')
    .requiredOption('--reason <text>', 'why, for the audit log')
    .action(async (id: string, options: Options & { readonly reason: string }) => {
      const path = `/v1/approvals/${encodeURIComponent(id)}/reject`
      const answer = await call<ApprovalView>(options, 'POST', path, { reason: options.reason, actor })
      put(options, answer, () => `rejected (${answer.route})`)
    })
  addAuditLogCommands(program, ctl)
}

function addKeyCommands(program: Command, { command, final, confirm, call, put, usage, actor }: Ctl): void {
  const keys = program.command('keys').description('API keys.').exitOverride()
  command(keys, 'list', 'The API keys, without their secrets.').action(async (options: Options) => {
    const answer = await call<{ keys: KeyView[] }>(options, 'GET', '/v1/keys')
    put(options, answer, () => (answer.keys.length === 0 ? 'no API keys' : keysText(answer.keys)))
  })
  command(keys, 'create <name>', 'Make an API key; its secret is shown once.')
    .requiredOption('--role <role...>', 'see ocsctl roles')
    .option('--days <count>', 'it ends after so many days', '90')
    .option('--ceiling <amount currency...>', 'the most that one request may credit or debit, like 50.00EUR')
    .action(async (name: string, options: Options & { role: string[]; days: string; ceiling?: string[] }) => {
      const ceilings = options.ceiling?.map(text => {
        const [, amount, currency] = /^(\d+(?:\.\d+)?) ?([A-Z]{3})$/.exec(text) ?? []
        if (amount === undefined) throw usage(`--ceiling ${text}: write it like 50.00EUR`)
        return [currency!, amount] as const
      })
      const body = {
        name,
        roles: options.role,
        days: Number(options.days),
        ceilings: ceilings && Object.fromEntries(ceilings),
        actor,
      }
      const made = await call<KeyView & { secret: string }>(options, 'POST', '/v1/keys', body)
      put(options, made, () => `${keysText([made])}\n\nThe key, shown only now (OCS_TOKEN takes it):\n${made.secret}`)
    })
  final(command(keys, 'revoke <id>', 'Revoke an API key: at once, for good.')).action(
    async (id: string, options: Options) => {
      await confirm(options, `API key ${id} opens nothing any more, for good.`)
      const key = await call<KeyView>(options, 'DELETE', `/v1/keys/${encodeURIComponent(id)}`)
      put(options, key, () => `API key ${key.id} (${key.name}) is revoked`)
    },
  )
}

const keysText = (keys: readonly KeyView[]): string =>
  table(
    ['id', 'name', 'roles', 'ceilings', 'state', 'expires', 'by'],
    keys.map(({ id, name, roles, ceilings, state, expires, createdBy }) => [
      ...[id, name, roles.join(', ')],
      Object.entries(ceilings ?? {})
        .map(([currency, amount]) => `${amount} ${currency}`)
        .join(', ') || '-',
      ...[state, expires.slice(0, 10), createdBy],
    ]),
  )

function approvalsText(approvals: readonly ApprovalView[]): string {
  if (approvals.length === 0) return 'nothing waits for a second person'
  return table(
    ['id', 'state', 'what', 'by', 'at', 'why it waits', 'decided by'],
    approvals.map(({ id, state, route, params, body, actor: who, at, held, decidedBy }) => [
      ...[
        id,
        state,
        `${placed(route, params)} ${amountOf(body)}`.trim(),
        who,
        at.slice(0, 16).replace('T', ' '),
        held,
        decidedBy ?? '-',
      ],
    ]),
  )
}

const placed = (route: string, params: Readonly<Record<string, string>> = {}): string =>
  route.replace(/:(\w+)/g, (_, name: string) => params[name] ?? name)

function amountOf(body: unknown): string {
  const { amount, currency } = (body ?? {}) as { amount?: string; currency?: string }
  return [amount, currency].filter(each => each !== undefined).join(' ')
}

function addAuditLogCommands(program: Command, { command, call, put }: Ctl): void {
  const auditlog = program
    .command('auditlog')
    .description('Who did what, in a chain that shows each change of it.')
    .exitOverride()
  command(auditlog, 'list', 'Its lines, oldest first.')
    .option('--by <name>', 'of one principal or actor')
    .option('--account <id>', 'about one account')
    .action(async (options: Options & { by?: string; account?: string }) => {
      const items: AuditLine[] = []
      let after: string | null | undefined
      do {
        const query = new URLSearchParams({ limit: '1000' })
        for (const [name, value] of Object.entries({
          by: options.by,
          account: options.account,
          after: after ?? undefined,
        }))
          if (value !== undefined) query.set(name, value)
        const page = await call<{ items: AuditLine[]; next: string | null }>(
          options,
          'GET',
          `/v1/auditlog?${query.toString()}`,
        )
        items.push(...page.items)
        after = page.next
      } while (after !== null)
      put(options, { items }, () => (items.length === 0 ? 'no lines' : linesText(items)))
    })
  command(
    auditlog,
    'verify',
    'Find a line that was changed, removed or reordered; exit status 1 when there is one.',
  ).action(async (options: Options) => {
    const answer = await call<{ lines: number; fault?: { file: string; line: number; what: string } }>(
      options,
      'GET',
      '/v1/auditlog/verify',
    )
    const { lines, fault } = answer
    put(options, answer, () =>
      fault
        ? `${fault.file}:${fault.line}: ${fault.what}; ${lines} lines before it are whole`
        : `${lines} lines, all whole`,
    )
    if (fault) process.exitCode = 1
  })
}

const linesText = (lines: readonly AuditLine[]): string =>
  table(
    ['line', 'at', 'who', 'what', 'why'],
    lines.map(({ n, at = '', event, actor, action, params, why, status, fault }) => [
      ...[String(n ?? '-'), at.slice(0, 19).replace('T', ' '), actor ?? ''],
      fault ?? (event === 'asked' ? placed(action ?? '', params) : `  ${event ?? ''} ${status ?? ''}`),
      why ?? '',
    ]),
  )
