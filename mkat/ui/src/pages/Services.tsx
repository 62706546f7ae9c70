// All services, page by page; search and filters live in the address.
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { Plus } from 'lucide-react';
import { useEffect, useState } from 'react';
import { servicesQuery } from '../api/queries';
import { Pager } from '../components/Pager';
import { ServiceCard } from '../components/ServiceCard';
import { Empty, ErrorNote, Loading, buttonClass } from '../components/ui/basic';
import { SelectField, TextField, numbered } from '../components/ui/fields';
import { SEVERITIES, STATES } from '../lib/labels';
import type { ServicesSearch } from '../lib/search';

const TYPING_MS = 250;
const ALL: [string, string] = ['', 'All'];

export function ServicesPage() {
  const search = useSearch({ from: '/inside/services' });
  const navigate = useNavigate({ from: '/services' });
  const { data, error, isPending } = useQuery(servicesQuery({ ...search, pageSize: 20 }));
  const narrow = (change: ServicesSearch) => void navigate({ search: (old) => ({ ...old, page: undefined, ...change }), replace: true });

  return (
    <>
      <div className="mb-4 flex items-center justify-between gap-2">
        <h1>Services</h1>
        <Link to="/services/new" className={buttonClass('main')}><Plus aria-hidden size={16} /> New service</Link>
      </div>
      <search className="panel mb-4 grid gap-3 sm:grid-cols-3">
        <SearchBox value={search.search ?? ''} onChange={(text) => narrow({ search: text || undefined })} />
        <SelectField
          label="State" options={[ALL, ...numbered(STATES)]} value={String(search.state ?? '')}
          onChange={(value) => narrow({ state: value === '' ? undefined : Number(value) })}
        />
        <SelectField
          label="Severity" options={[ALL, ...numbered(SEVERITIES)]} value={String(search.severity ?? '')}
          onChange={(value) => narrow({ severity: value === '' ? undefined : Number(value) })}
        />
      </search>
      <ErrorNote error={error} />
      {isPending && <Loading />}
      {data && (
        <>
          {data.items.length === 0 && <Empty>{data.totalCount === 0 && Object.keys(search).length === 0 ? 'There is no service yet.' : 'Nothing matches.'}</Empty>}
          <ul className="flex flex-col gap-2">
            {data.items.map((service) => <ServiceCard key={service.id} service={service} />)}
          </ul>
          <Pager page={data} what="services" onPage={(page) => void navigate({ search: (old) => ({ ...old, page }) })} />
        </>
      )}
    </>
  );
}

/** Asks the server only when typing rests. */
function SearchBox({ value, onChange }: { value: string; onChange: (text: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]); // eslint-disable-line react-hooks/exhaustive-deps -- only typing starts the clock
  return <TextField label="Search" type="search" placeholder="Name or description" value={text} onChange={setText} />;
}
