/**
 * Reads the section `notifications`: the feed of events, and the webhooks that get them.
 */
import type { NotificationsConfig, WebhookConfig } from './config.js'
import { group, or } from './optional.js'
import { readEach } from './peers.js'
import {
  fault,
  namePattern,
  readBoolean,
  readDuration,
  readEntries,
  readFields,
  readInteger,
  readList,
  readParsed,
  type Value,
} from './yaml.js'

/** What stands for a secret, with the references in it resolved; undefined, with a fault, where it cannot be. */
export interface SecretReaders {
  /** Only `${env:NAME}` or `${file:PATH}` are accepted. */
  readonly secret: (value: Value) => string | undefined
  /** Text with references in it. */
  readonly text: (value: Value) => string | undefined
}

const second = 1_000
const day = 86_400 * second
const webhookKeys = ['name', 'url', 'secret', 'types', 'timeout', 'parallel', 'headers', 'retry'] as const
/** They are ours, or decide how the body is read. */
const ownHeaders = /^(ocs-.*|content-type|content-length|transfer-encoding|connection|host|upgrade|expect)$/i

export function readNotifications(value: Value | undefined, readers: SecretReaders): NotificationsConfig {
  const fields = group(value, ['keep', 'events', 'usage', 'webhooks'])
  const webhooks = fields.webhooks ? readEach(fields.webhooks, each => readWebhook(each, readers)) : []
  const names = new Set<string>()
  for (const { name } of webhooks) {
    if (names.has(name)) fault(fields.webhooks!, `two webhooks are named ${name}`, 'give each its own name')
    names.add(name)
  }
  return {
    keepMs: or(fields.keep, each => readDuration(each, { min: 60 * second, max: 400 * day }), 30 * day),
    mostEvents: or(fields.events, each => readInteger(each, { min: 1_000, max: 1_000_000_000 }), 1_000_000),
    usage: or(fields.usage, readBoolean, true),
    webhooks,
  }
}

function readWebhook(value: Value, readers: SecretReaders): WebhookConfig | undefined {
  const before = value.source.faults.length
  const fields = readFields(value, webhookKeys, ['name', 'url', 'secret'])
  const retry = group(fields.retry, ['first', 'most', 'giveUp'])
  const span = { min: 100, max: 31 * day }
  const webhook: WebhookConfig = {
    name: or(fields.name, readName, ''),
    url: or(fields.url, each => readUrl(each, readers), ''),
    secrets: fields.secret ? readEach(fields.secret, readers.secret) : [],
    types: fields.types ? readEach(fields.types, readType) : [],
    timeoutMs: or(fields.timeout, each => readDuration(each, { min: 100, max: 60 * second }), 10 * second),
    parallel: or(fields.parallel, each => readInteger(each, { min: 1, max: 256 }), 8),
    headers: fields.headers ? readHeaders(fields.headers, readers) : {},
    retry: {
      firstMs: or(retry.first, each => readDuration(each, span), second),
      mostMs: or(retry.most, each => readDuration(each, span), 3_600 * second),
      giveUpMs: or(retry.giveUp, each => readDuration(each, span), day),
    },
  }
  if (fields.secret && readList(fields.secret).length > 2)
    fault(fields.secret, 'a webhook has two secrets at most', 'write the new one, then the old one')
  return value.source.faults.length === before ? webhook : undefined
}

const readName = (value: Value): string | undefined =>
  readParsed(
    value,
    'a name',
    text => (namePattern.test(text) ? text : undefined),
    'use up to 63 letters, digits, dots, dashes and underscores',
  )

function readUrl(value: Value, { text }: SecretReaders): string | undefined {
  const written = text(value)
  if (written === undefined) return undefined
  const url = URL.canParse(written) ? new URL(written) : undefined
  const fits = url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.hash === ''
  return fits
    ? written
    : fault(value, `${value.path} is no address to send to`, 'write https://crm.example.net/hooks/ocs')
}

/** Which types there are is known elsewhere: here they must look like one. */
const readType = (value: Value): string | undefined =>
  readParsed(
    value,
    'a type of event',
    text => (/^(\*|[a-z-]+\.(\*|[a-z-]+))$/.test(text) ? text : undefined),
    'write balance.threshold, balance.* or "*"; `ocsctl notifications types` lists them',
  )

function readHeaders(value: Value, { text }: SecretReaders): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const { name, key, value: given } of readEntries(value) ?? []) {
    const is = text(given)
    if (!/^[A-Za-z0-9-]{1,64}$/.test(name) || ownHeaders.test(name))
      fault(key, `\`${name}\` is no header that may be added`, 'use another name')
    else if (is !== undefined && !/^[\x20-\x7e]{0,1000}$/.test(is))
      fault(given, `${given.path} has characters that no header may have`, 'write printable ASCII on one line')
    else if (is !== undefined) headers[name] = is
  }
  return headers
}
