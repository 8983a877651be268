// What a model costs at each of its targets, and a price of one's own that goes before every list.
import { Button, Group, NumberInput, Stack, Text } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, take } from '../api/client';
import { renewTag } from '../api/tags';
import { useWords } from '../i18n';
import { Failure } from './pieces';

export function PriceFields({ model }: { model: string }) {
  const words = useWords();
  const found = useQuery({ queryKey: ['price', model], queryFn: async () => (await take(api.GET('/sluice/v1/prices/lookup', { params: { query: { model } } }))).data });
  if (!found.data || found.data.length === 0) return null;
  return (
    <Stack gap={6}>
      <Text size="sm" fw={500}>{words.price} <Text span size="xs" c="dimmed">$ / M {words.tokens}</Text></Text>
      {found.data.map((t) => <Target key={`${t.provider} ${t.upstream_model} ${t.version}`} t={t} onDone={() => void renewTag(`/sluice/v1/models/${encodeURIComponent(model)}`)} />)}
    </Stack>
  );
}

interface Priced { provider: string; upstream_model: string; source: string | null; price: unknown }

function Target({ t, onDone }: { t: Priced; onDone: () => void }) {
  const words = useWords();
  const price = (t.price ?? {}) as { input?: number; output?: number };
  const [input, setInput] = useState<number | string>(price.input ?? '');
  const [output, setOutput] = useState<number | string>(price.output ?? '');
  const set = useMutation({ mutationFn: () => take(api.POST('/sluice/v1/prices', { body: { provider: t.provider, model: t.upstream_model, price: { ...price, input: Number(input), output: Number(output) } } })), onSuccess: onDone });
  const drop = useMutation({ mutationFn: () => take(api.DELETE('/sluice/v1/prices', { params: { query: { provider: t.provider, model: t.upstream_model } } })), onSuccess: onDone });
  const isChanged = input !== (price.input ?? '') || output !== (price.output ?? '');
  return (
    <Stack gap={4}>
      <Group gap={6} align="center">
        <Text size="xs" flex="1 1 160px" miw={0} className="ell"><span className="mono">{t.provider}/{t.upstream_model}</span> <Text span size="xs" c="dimmed">· {t.source === null ? words.unknownPrice : words[`source_${t.source as 'list'}`]}</Text></Text>
        <Group gap={6} wrap="nowrap">
          <NumberInput size="xs" w={92} aria-label={`${words.inputPrice}: ${t.provider}`} placeholder={words.input} value={input} onChange={setInput} min={0} decimalScale={6} hideControls />
          <NumberInput size="xs" w={92} aria-label={`${words.outputPrice}: ${t.provider}`} placeholder={words.output} value={output} onChange={setOutput} min={0} decimalScale={6} hideControls />
          <Button size="xs" variant="default" disabled={!isChanged || input === '' || output === ''} loading={set.isPending} onClick={() => set.mutate()} aria-label={`${words.setPrice}: ${t.provider}`}>{words.setPrice}</Button>
        </Group>
      </Group>
      {t.source === 'override' && !isChanged && <Button size="compact-xs" variant="subtle" color="gray" style={{ alignSelf: 'flex-end' }} loading={drop.isPending} onClick={() => drop.mutate()}>{words.dropPrice}</Button>}
      {(set.error ?? drop.error) && <Failure error={(set.error ?? drop.error) as Error} />}
    </Stack>
  );
}
