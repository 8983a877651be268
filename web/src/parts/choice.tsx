// One of a few, side by side: native radio buttons in the looks of the others.
import { useId } from 'react';

export function Choice<T extends string>({ label, value, onChange, data }: { label: string; value: T; onChange: (value: T) => void; data: { value: T; label: string }[] }) {
  const name = useId();
  return (
    <div className="choice" role="radiogroup" aria-label={label}>
      {data.map((d) => <label key={d.value} data-active={d.value === value || undefined}><input type="radio" name={name} value={d.value} checked={d.value === value} onChange={() => onChange(d.value)} />{d.label}</label>)}
    </div>
  );
}
