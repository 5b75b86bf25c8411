-- What sagas decided about orders that are pending still; the others do not come back.
UPDATE orders o
   SET status = n.status, reason = n.reason, reason_detail = n.detail, payment_id = n.payment_id,
       shipment_id = n.shipment_id, updated_at = now()
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::uuid[])
    AS n(id, status, reason, detail, payment_id, shipment_id)
 WHERE o.id = n.id AND o.status = 'pending'
RETURNING o.id, o.user_id
