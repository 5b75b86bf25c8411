UPDATE shipment s SET state = n.state, recalled_by = n.recalled_by, updated_at = now()
  FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS n(id, state, recalled_by)
 WHERE s.id = n.id AND s.state = 'arranged'
