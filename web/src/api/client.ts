// One typed door to the server: paths, parameters and answers come from the OpenAPI document (schema.d.ts is generated).
import createClient, { type Middleware } from 'openapi-fetch';
import type { paths } from './schema';
import { noteCall } from './calls';
import { noteTag, tagOf } from './tags';

// The page says where it stands; the interface begins one level above the dashboard.
export const dashboardUrl = new URL('./', document.baseURI);
export const apiUrl = new URL('../', dashboardUrl);

export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly field: string;
  readonly requestId: string;
  /** what was asked */
  readonly url: string;

  constructor(status: number, body: unknown, requestId: string, url = '') {
    const inner = (body as { error?: unknown } | null)?.error;
    const told = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : {};
    super(String(told.message ?? (typeof inner === 'string' ? inner : '') ?? '') || `HTTP ${status}`);
    this.status = status;
    this.code = String(told.code ?? '');
    this.field = String(told.param ?? '');
    this.requestId = requestId;
    this.url = url;
  }
}

// A key typed into the sign-in form stays in memory: no storage of the browser ever holds a secret.
let key = '';
const lost = new Set<() => void>();

export function setKey(text: string): void {
  key = text;
}

export const hasKey = (): boolean => key !== '';

/** Calls back when the server no longer takes our credential. Returns how to stop that. */
export function onSignedOut(callback: () => void): () => void {
  lost.add(callback);
  return () => void lost.delete(callback);
}

const missed = new Set<() => void>();

/** Calls back when a call got no answer at all. Returns how to stop that. */
export function onUnreachable(callback: () => void): () => void {
  missed.add(callback);
  return () => void missed.delete(callback);
}

/** A call that does not go through `api` got no answer. */
export const noteUnreachable = (): void => missed.forEach((callback) => callback());

/** The headers of a call that does not go through `api`, such as one that is read as a stream. */
export function credentials(): Record<string, string> {
  return key ? { authorization: `Bearer ${key}` } : {};
}

// What the request that is being made was written from: it is written just before the middleware sees it, with nothing between them.
let written: unknown;
const longest = 10_000; // of a body that is shown

const door: Middleware = {
  onError({ error }) {
    if (!(error instanceof DOMException && error.name === 'AbortError')) noteUnreachable();
  },
  onRequest({ request }) {
    if (key) request.headers.set('authorization', `Bearer ${key}`);
    const tag = request.method === 'GET' ? undefined : tagOf(request.url);
    if (tag) request.headers.set('if-match', tag);
    noteCall(apiUrl.href, request, written);
    written = undefined;
    return request;
  },
  onResponse({ request, response, schemaPath }) {
    if (request.method !== 'GET' && response.ok) noteTag(request.url, response.headers.get('etag'));
    if (response.status === 401 && schemaPath !== '/sluice/v1/session') lost.forEach((callback) => callback());
  },
};

export const api = createClient<paths>({
  baseUrl: apiUrl.href.replace(/\/$/, ''), credentials: 'same-origin',
  bodySerializer(body) {
    const text = JSON.stringify(body);
    written = text.length < longest ? body : undefined;
    return text;
  },
});
api.use(door);

/** The data of an answer, or an ApiError thrown. */
export async function take<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw new ApiError(response.status, error, response.headers.get('x-request-id') ?? '', response.url);
  return data as T;
}

type Json<O> = O extends { responses: infer R }
  ? R extends { 200: { content: { 'application/json': infer T } } } ? T
  : R extends { 201: { content: { 'application/json': infer T } } } ? T : never
  : never;
type Row<L> = L extends { data: (infer T)[] } ? T : never;

export type Provider = Row<Json<paths['/sluice/v1/providers']['get']>>;
export type ProviderKind = Row<Json<paths['/sluice/v1/provider-kinds']['get']>>;
export type ServedModel = Row<Json<paths['/sluice/v1/models']['get']>>;
export type Key = Row<Json<paths['/sluice/v1/keys']['get']>>;
export type Setting = Row<Json<paths['/sluice/v1/settings']['get']>>;
export type Info = Json<paths['/sluice/v1/info']['get']>;
