/**
 * Who may import whom: the corridor's arrows (README, design section), held by this table. `types` are imports that
 * vanish when compiled: shapes may be known where work may not be done.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'

interface Arrows {
  readonly imports: readonly string[]
  readonly types?: readonly string[]
}

/** By room: a folder of src/, or a file beside them. */
const arrows: Readonly<Record<string, Arrows>> = {
  units: { imports: [] },
  clock: { imports: ['units'] },
  currency: { imports: [] },
  config: { imports: ['units'] },
  access: { imports: ['clock', 'units'], types: ['balance', 'config'] },
  recharge: { imports: ['balance', 'rating', 'clock', 'units'], types: ['config'] },
  subscription: { imports: ['balance', 'rating', 'clock', 'units'], types: ['config'] },
  notification: { imports: ['balance', 'clock', 'units'], types: ['config'] },
  publishing: { imports: ['balance', 'rating', 'clock', 'config', 'units'], types: ['inquiry'] },
  report: { imports: ['balance', 'ledger', 'clock', 'units'], types: ['config'] },
  privacy: { imports: [] },
  diameter: { imports: ['clock', 'units'], types: ['config'] },
  rating: { imports: ['config', 'currency', 'units'] },
  balance: { imports: ['clock', 'units'], types: ['config'] },
  store: { imports: ['clock'] },
  charging: { imports: ['balance', 'rating', 'clock', 'currency', 'units'], types: ['config'] },
  gy: { imports: ['charging', 'diameter', 'clock', 'currency', 'units'], types: ['config'] },
  ledger: { imports: ['balance', 'clock', 'units'], types: ['config'] },
  telemetry: {
    imports: ['diameter', 'clock', 'units'],
    types: ['balance', 'charging', 'config', 'gy', 'ledger', 'notification', 'recharge', 'subscription'],
  },
  admin: {
    imports: ['access', 'recharge', 'balance', 'clock', 'config', 'units'],
    types: [
      ...[
        'charging',
        'inquiry',
        'publishing',
        'rating',
        'trace',
        'ledger',
        'notification',
        'privacy',
        'recharge',
        'report',
      ],
      'subscription',
    ],
  },
  trace: { imports: ['diameter', 'clock', 'units'] },
  simulator: { imports: ['diameter', 'config', 'clock', 'currency', 'units'] },
  daemon: {
    imports: [
      ...['admin', 'balance', 'charging', 'clock', 'config', 'currency', 'diameter', 'gy', 'inquiry'],
      ...['ledger', 'rating', 'store', 'telemetry', 'trace', 'units'],
      ...['access', 'notification', 'privacy', 'publishing', 'recharge', 'report', 'subscription'],
    ],
  },
  inquiry: { imports: ['balance', 'charging', 'clock', 'config', 'ledger', 'rating', 'store', 'units'] },
  ocsd: { imports: ['daemon', 'config', 'inquiry', 'telemetry'] },
  ctl: {
    imports: ['clock', 'config', 'currency', 'diameter', 'rating', 'simulator', 'units'],
    types: ['access', 'admin', 'inquiry'],
  },
  ocsctl: { imports: ['config', 'ctl', 'units'], types: ['admin'] },
}

/** Where a package may do its work; its types may be named anywhere. */
const packages: Readonly<Record<string, readonly string[]>> = {
  commander: ['ctl', 'ocsctl'],
  fastify: ['admin'],
  ioredis: ['balance'],
  jose: ['access'],
  luxon: ['rating'],
  pino: ['telemetry'],
  'prom-client': ['telemetry'],
  yaml: ['config', 'diameter'],
}

interface Import {
  readonly from: string
  readonly typeOnly: boolean
  readonly isExport: boolean
}

function importsOf(file: string, text: string): Import[] {
  const found: Import[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      const named = node.importClause?.namedBindings
      const typeOnly =
        node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword ||
        (node.importClause?.name === undefined &&
          named !== undefined &&
          ts.isNamedImports(named) &&
          named.elements.length > 0 &&
          named.elements.every(element => element.isTypeOnly))
      found.push({ from: node.moduleSpecifier.text, typeOnly, isExport: false })
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)) {
      found.push({ from: node.moduleSpecifier.text, typeOnly: node.isTypeOnly, isExport: true })
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [target] = node.arguments
      if (target && ts.isStringLiteral(target)) found.push({ from: target.text, typeOnly: false, isExport: false })
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  return found
}

const roomOf = (path: string): string => path.split('/', 1)[0]!.replace(/\.ts$/, '')

/** @param path below src/ */
function faultsOf(path: string, text: string): string[] {
  const room = roomOf(path)
  const allowed = arrows[room]
  if (!allowed) return [`${path}: ${room} is no room of the table`]
  const faults: string[] = []
  if (path.endsWith('/index.ts')) faults.push(`${path}: import the file you mean, there are no index files`)
  if (!/^(#!.*\n)?\/\*\*/.test(text)) faults.push(`${path}: says not at its top what it is for`)
  for (const { from, typeOnly, isExport } of importsOf(path, text)) {
    // A door may name the shapes that go through it; work is imported where it is done.
    if (isExport && !typeOnly) faults.push(`${path}: hands on ${from}: import the file you mean`)
    if (from.startsWith('.')) {
      if (!from.endsWith('.js')) faults.push(`${path}: ${from} must end in .js`)
      const target = join(path, '..', from)
      const other = roomOf(target.replace(/\.js$/, '.ts'))
      if (target.startsWith('..')) faults.push(`${path}: ${from} is not below src/`)
      else if (other !== room && !allowed.imports.includes(other) && !(typeOnly && allowed.types?.includes(other))) {
        faults.push(`${path}: ${room} may not import ${typeOnly ? 'types of ' : ''}${other} (${from})`)
      }
    } else if (!from.startsWith('node:')) {
      const rooms = packages[from]
      if (!rooms) faults.push(`${path}: package ${from} is not in the table`)
      else if (!typeOnly && !rooms.includes(room)) faults.push(`${path}: ${from} works in ${rooms.join(', ')} only`)
    }
  }
  return faults
}

void t.test('every import of src/ goes along an arrow', t => {
  const src = fileURLToPath(new URL('../src/', import.meta.url))
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'))
  t.ok(files.length > 30)
  for (const file of files.sort()) t.same(faultsOf(file, readFileSync(join(src, file), 'utf8')), [], file)
  t.end()
})

void t.test('the arrows have no cycle', t => {
  const reached = (room: string): Set<string> => {
    const rooms = new Set<string>()
    const walk = (from: string): void => {
      for (const to of arrows[from]!.imports) {
        if (rooms.has(to)) continue
        rooms.add(to)
        walk(to)
      }
    }
    walk(room)
    return rooms
  }
  for (const room of Object.keys(arrows)) t.notOk(reached(room).has(room), room)
  t.end()
})

void t.test('what goes against an arrow is found', t => {
  const table = [
    ['rating/price.ts', "import { Store } from '../balance/store.js'", 'rating may not import balance'],
    ['diameter/peer.ts', "import type { Ccr } from '../gy/ccr.js'", 'diameter may not import types of gy'],
    ['diameter/peer.ts', "import { loadConfig } from '../config/load.js'", 'diameter may not import config'],
    ['balance/keys.ts', "import { type Program, hash } from '../rating/program.js'", 'balance may not import rating'],
    ['gy/ccr.ts', "const { Redis } = await import('ioredis')", 'ioredis works in balance only'],
    ['gy/ccr.ts', "import { accountKey } from '../balance/keys.js'", 'gy may not import balance'],
    ['gy/ccr.ts', "import { x } from 'left-pad'", 'package left-pad is not in the table'],
    ['gy/index.ts', '', 'there are no index files'],
    ['gy/all.ts', "export * from './ccr.js'", 'hands on ./ccr.js'],
    ['gy/ccr.ts', "import { x } from './cca'", 'must end in .js'],
    ['simulator/demo.ts', "import { x } from '../../test/support/redis.js'", 'is not below src/'],
    ['helpers/x.ts', '', 'helpers is no room'],
  ] as const
  for (const [path, text, fault] of table) t.match(faultsOf(path, `/** x */\n${text}`)[0], fault)
  t.match(faultsOf('gy/ccr.ts', 'export {}'), [/says not at its top/])
  for (const [path, text] of [
    ['diameter/peer.ts', "import type { DiameterConfig } from '../config/config.js'"],
    ['charging/charging.ts', "export type { Identity } from '../balance/types.js'"],
    ['diameter/peer.ts', "import { type DiameterConfig } from '../config/config.js'"],
    ['gy/ccr.ts', "import { DiameterError } from '../diameter/errors.js'\nimport type { Logger } from 'pino'"],
  ] as const) {
    t.same(faultsOf(path, `/** x */\n${text}`), [])
  }
  t.end()
})
