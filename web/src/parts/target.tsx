// A name to ask for: a model, combo or alias that is there, or whatever is typed, such as provider/model.
import { Select, type SelectProps } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import type { ServedModel } from '../api/client';
import { lists } from '../api/lists';
import { routing } from '../api/routing';

const isPattern = (name: string) => /[*?]/.test(name);

/** All names that lead somewhere. */
function useTargets(): string[] {
  const models = useQuery(lists.models);
  const combos = useQuery(routing.combos);
  const aliases = useQuery(lists.aliases);
  return useMemo(() => [...new Set([
    ...(models.data ?? []).filter((m) => m.enabled).map((m) => m.name), ...(combos.data ?? []).map((c) => c.name), ...(aliases.data ?? []).filter((a) => a.enabled && !isPattern(a.alias)).map((a) => a.alias),
  ])], [models.data, combos.data, aliases.data]);
}

/** The model that is most likely to answer: one that did of late, else the first that talks and has somebody to ask. '' until there is one. */
export function useLikelyModel(): string {
  const models = useQuery(lists.models);
  const providers = useQuery(lists.providers);
  const series = useQuery(lists.series);
  return useMemo(() => {
    const off = new Set(providers.data?.filter((p) => !p.enabled).map((p) => p.name));
    const used = new Map(series.data?.models.map((m) => [m.id, m]));
    const merit = (m: ServedModel) => { const u = used.get(m.name); return u ? (u.errors < u.requests ? 1 : -1) : 0; };
    const fit = (models.data ?? []).filter((m) => m.enabled && (m.capabilities.length === 0 || m.capabilities.includes('text')) && m.targets.some((t) => !off.has(t.provider)));
    return (fit.toSorted((a, b) => merit(b) - merit(a))[0] ?? models.data?.[0])?.name ?? '';
  }, [models.data, providers.data, series.data]);
}

export function TargetSelect({ value, onChange, ...rest }: { value: string; onChange: (name: string) => void } & Omit<SelectProps, 'data' | 'value' | 'onChange'>) {
  const names = useTargets();
  const [typed, setTyped] = useState('');
  const wanted = typed.trim();
  const data = [...new Set([...names, ...(value ? [value] : []), ...(wanted ? [wanted] : [])])];
  return <Select searchable limit={100} {...rest} data={data} value={value || null} onChange={(v) => onChange(v ?? '')} onSearchChange={setTyped} />;
}
